"""What of a prediction may be written down: the [log] section's sample, drop and hash, before the first byte."""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from flyball.core.digests import canonical_json
from flyball.core.errors import Corrupt
from flyball.core.project import LogSection
from flyball.core.records import LogRecord, OutcomeRecord, PredictionRecord

KEY_BYTES = 32
_SHORTEST_TRACE = 3  # shorter values would blank out half of every message


class LogRules:
    """The [log] section of one model, ready to be applied to each record.

    entity: name of the entity column ([model].entity); dropping or hashing it acts on the record's `entity` too,
    in outcomes as well, so that the two still join.
    """

    def __init__(self, log: LogSection, key: bytes, entity: str | None = None) -> None:
        self._key = key
        self._drop = tuple(log.drop)
        self._hash = tuple(name for name in log.hash if name not in log.drop)
        self._drops_entity = entity is not None and entity in self._drop
        self._hashes_entity = entity is not None and entity in self._hash
        self._sample = log.sample
        self._keeps_all = log.sample >= 1.0
        self.is_idle = self._keeps_all and not self._drop and not self._hash

    def prepare(self, records: list[LogRecord]) -> list[LogRecord]:
        """What may be written of these records; the very same list when the rules ask for nothing.

        The given records are never changed: the answer to the client is made of them.
        """
        if self.is_idle:
            return records
        return [self._redact(record) for record in records if self._keeps_all or self._is_sampled(record)]

    def _is_sampled(self, record: LogRecord) -> bool:
        """By a keyed hash of the prediction id: a retry, a shadow and the outcome share one fate."""
        if isinstance(record, PredictionRecord):
            name = record.id
        elif record.prediction_id is not None:
            name = record.prediction_id
        else:
            return True
        point = int.from_bytes(blake2b(name.encode(), key=self._key, digest_size=8).digest(), "big")
        return point < self._sample * 2.0**64

    def _redact(self, record: LogRecord) -> LogRecord:
        if not self._drop and not self._hash:
            return record
        entity = record.entity
        if self._drops_entity:
            entity = None
        elif self._hashes_entity and entity is not None:
            entity = hash_value(entity, self._key)
        if isinstance(record, OutcomeRecord):
            return msgspec.structs.replace(record, entity=entity)
        kept, secrets = self._redact_input(record.input)
        if record.entity is not None and entity != record.entity:
            secrets.append(record.entity)
        return msgspec.structs.replace(
            record,
            entity=entity,
            input=kept,
            flags=[_blank(flag, secrets) for flag in record.flags] if record.flags else record.flags,
            error=_blank(record.error, secrets) if record.error is not None else None,
        )

    def _redact_input(self, given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        kept = dict(given)
        secrets: list[str] = []
        for name in self._drop:
            if name in kept:
                secrets.append(str(kept.pop(name)))
        for name in self._hash:
            value = kept.get(name)
            if value is not None:
                secrets.append(str(value))
                kept[name] = hash_value(value, self._key)
        return kept, secrets


def hash_value(value: Any, key: bytes) -> str:
    """`h_` and 32 hexadecimal digits: equal for equal values under one key; 5 and "5" are equal here.

    Keyed BLAKE2b, 128 bits: without the key, guessing values and comparing their hashes does not work.
    """
    text = value.encode() if isinstance(value, str) else canonical_json(value)
    return "h_" + blake2b(text, key=key, digest_size=16).hexdigest()


def read_hash_key(path: Path) -> bytes:
    """The key for hashing, made at first use: 32 random bytes in a file only its owner can read.

    Raises Corrupt when the file holds anything else: with a new key, old and new rows would no longer join.
    """
    if not path.exists():
        _create_key(path)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise Corrupt(
            f"{path} should hold the {KEY_BYTES} bytes of the key that hashes logged fields and holds {len(key)}; "
            "restore it from a backup, or delete it to begin a new key (rows hashed before will not join new ones)",
            path=str(path),
        )
    return key


def _create_key(path: Path) -> None:
    """Written under another name and linked, so that no second process ever reads half a key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, os.urandom(KEY_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was quicker: its key holds
    finally:
        draft.unlink()


def _blank(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        if len(secret) >= _SHORTEST_TRACE:
            text = text.replace(secret, "***")
    return text
