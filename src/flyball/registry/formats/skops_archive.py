"""skops archives made reproducible, and looked at before anything in them is built.

What skops writes holds memory addresses, random names and times, so that the same estimator gives other bytes each
time. `normalise` names arrays by their content, counts objects in order, and stores everything uncompressed at a fixed
time. `check` takes archives of that form only: nothing to inflate, no arrays larger than their bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

from flyball.core.errors import UnsafeModel
from flyball.registry.formats.lightgbm_text import read_text

_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
# The version of skops' own format; older ones have looser readers, and a file chooses its reader by this number.
_PROTOCOLS = (2,)
_MOST_MEMBERS = 100_000
_LARGEST_SCHEMA_BYTES = 256 * 1024 * 1024
_LARGEST_NPZ_BYTES = 1024**3
_LIGHTGBM_START = "tree\n"


def normalise(archive: bytes) -> bytes:
    """The same archive with names, numbers and times that depend on its content only."""
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    schema = json.loads(members.pop(_SCHEMA))
    names = {
        name: f"{hashlib.sha256(data).hexdigest()[:32]}{name[name.rfind('.') :]}"
        for name, data in members.items()
    }
    _rename(schema, names, {}, _Counter())
    contents = {names[name]: data for name, data in members.items()}
    contents[_SCHEMA] = json.dumps(schema, sort_keys=False, separators=(",", ":")).encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o600 << 16
            target.writestr(entry, contents[name])
    return made.getvalue()


def check(archive: bytes) -> None:
    """Raises UnsafeModel for anything but an archive as `normalise` writes it, with arrays of the size they claim."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as source:
            _check_members(source)
            _check_schema(json.loads(source.read(_SCHEMA)))
    except UnsafeModel:
        raise
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, struct.error, EOFError) as error:
        raise UnsafeModel(
            f"this is no skops archive that can be read: {type(error).__name__}: {error}"
        ) from error


class _Counter:
    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        self.last += 1
        return self.last


def _rename(node: Any, names: dict[str, str], known: dict[int, int], counter: _Counter) -> None:
    """Objects numbered in the order of the schema. Plain values get a number each: whether two of them are one object
    in memory is chance. The items of a set are sorted, since their order is chance as well."""
    if isinstance(node, list):
        for item in node:
            _rename(item, names, known, counter)
        return
    if not isinstance(node, dict):
        return
    if node.get("__loader__") == "SetNode" and isinstance(node.get("content"), list):
        node["content"].sort(key=_without_numbers)
    if "__id__" in node:
        number = node["__id__"]
        if node.get("__loader__") == "JsonNode" or number not in known:
            known[number] = counter.next()
        node["__id__"] = known[number]
    if isinstance(node.get("file"), str) and node["file"] in names:
        node["file"] = names[node["file"]]
    for value in node.values():
        _rename(value, names, known, counter)


def _without_numbers(node: Any) -> str:
    if isinstance(node, dict):
        return json.dumps({key: _without_numbers(value) for key, value in node.items() if key != "__id__"})
    if isinstance(node, list):
        return json.dumps([_without_numbers(item) for item in node])
    return json.dumps(node)


def _check_members(source: zipfile.ZipFile) -> None:
    entries = source.infolist()
    if len(entries) > _MOST_MEMBERS or len({entry.filename for entry in entries}) != len(entries):
        raise UnsafeModel(f"the archive has {len(entries)} members, some of them twice or too many")
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise UnsafeModel(f"{entry.filename!r} is compressed, which archives of models are not")
        if entry.flag_bits & 0x1:
            raise UnsafeModel(f"{entry.filename!r} is encrypted")
        if "/" in entry.filename or "\\" in entry.filename or entry.filename.startswith("."):
            raise UnsafeModel(f"{entry.filename!r} is no name for a member")
        if entry.filename == _SCHEMA:
            if entry.file_size > _LARGEST_SCHEMA_BYTES:
                raise UnsafeModel("the archive's schema is too large")
        elif entry.filename.endswith(".npy"):
            with source.open(entry) as member:
                check_npy(member.read(4096), entry.file_size, entry.filename)
        elif entry.filename.endswith(".npz"):
            _check_npz(source.read(entry), entry.filename)


def check_npy(start: bytes, size: int, name: str) -> None:
    """Raises UnsafeModel if an .npy file holds Python objects, or claims more or less than its bytes."""
    import numpy as np

    file = io.BytesIO(start)
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise UnsafeModel(f"{name!r} is an array of an unknown version {version}")
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise UnsafeModel(f"{name!r} holds Python objects, which are not loaded")
    count = 1
    for length in shape:
        if length < 0:
            raise UnsafeModel(f"{name!r} has a negative length")
        count *= length
    if count * dtype.itemsize != size - file.tell():
        raise UnsafeModel(f"{name!r} claims {count} values and holds {size - file.tell()} bytes")


def _check_npz(data: bytes, name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as inner:
        entries = inner.infolist()
        if len(entries) > 16 or sum(entry.file_size for entry in entries) > _LARGEST_NPZ_BYTES:
            raise UnsafeModel(f"{name!r} unpacks to more than is taken")
        for entry in entries:
            with inner.open(entry) as member:
                check_npy(member.read(4096), entry.file_size, f"{name}:{entry.filename}")


def _check_schema(schema: Any) -> None:
    if not isinstance(schema, dict) or schema.get("protocol") not in _PROTOCOLS:
        protocol = schema.get("protocol") if isinstance(schema, dict) else None
        raise UnsafeModel(f"the archive is of skops protocol {protocol!r}; {_PROTOCOLS[-1]} is read")
    for node in _nodes(schema):
        content = node.get("content")
        if (
            node.get("__loader__") == "JsonNode"
            and isinstance(content, str)
            and _LIGHTGBM_START[:4] in content[:8]
        ):
            value = json.loads(content)
            # A LightGBM model inside a pipeline: its library trusts the text, so its indexes are checked here.
            if isinstance(value, str) and value.startswith(_LIGHTGBM_START):
                read_text(value)


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
