from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.contract import Contract, FeatureRule
from flyball.core.digests import canonical_json, digest_bytes
from flyball.core.errors import BadBundle, CorruptBundle, NewerFormat, ObjectNotFound
from flyball.registry.bundle import (
    BundleFile,
    BundleManifest,
    DerivedForm,
    FeatureSpec,
    PredictorSpec,
    RefusedForm,
    Signature,
    StepSpec,
    copy_files,
    fetch,
    pack,
    read_file,
    read_folder_manifest,
    read_manifest,
    read_manifest_bytes,
    seal,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "bundle-1.json"

FEATURES = (
    FeatureSpec(name="hr", type="int", nullable=False),
    FeatureSpec(name="city", type="string", categories=("Bonn", "Köln")),
)


def manifest(**changes: Any) -> BundleManifest:
    values: dict[str, Any] = {
        "model": "bike",
        "task": "binary",
        "signature": Signature(features=FEATURES, target="late", classes=("no", "yes"), positive="yes"),
        "predictor": PredictorSpec(
            kind="lightgbm", path="model.txt", features=FEATURES, options={"class_order": [1, 0]}
        ),
        "contract": Contract(
            features={
                "hr": FeatureRule(type="int", min=0, max=23),
                "city": FeatureRule(type="string", values=("Bonn", "Köln"), nullable=True),
            }
        ),
        "files": (
            BundleFile(path="golden.json", digest=digest_bytes(b"golden"), size_bytes=6),
            BundleFile(path="model.onnx", digest=digest_bytes(b"onnx"), size_bytes=4),
            BundleFile(path="model.txt", digest=digest_bytes(b"tree"), size_bytes=4),
            BundleFile(path="reference.json", digest=digest_bytes(b"{}"), size_bytes=2),
            BundleFile(path="source/steps.py", digest=digest_bytes(b""), size_bytes=0),
        ),
        "steps": (StepSpec(name="features", entry="steps:build", params={"k": 2}, seed=7),),
        "derived": (
            DerivedForm(kind="onnx", path="model.onnx", max_abs_difference=2.5e-7, tolerance=1e-5, rows=2064),
        ),
        "refused_forms": (RefusedForm(kind="onnx", because="3 of 64 labels change"),),
        "golden": "golden.json",
        "reference": "reference.json",
        "libraries": {"lightgbm": "4.7.0", "python": "3.11.7"},
    }
    return BundleManifest(**{**values, **changes})


def made(folder: Path, **files: bytes) -> Path:
    """A sealed folder with a model file and others."""
    for name, data in {"model.txt": b"tree\n", **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    small = {"files": (), "steps": (), "derived": (), "golden": None, "reference": None}
    seal(folder, manifest(**small))
    return folder


def test_the_golden_manifest_of_format_1_reads_as_it_always_did() -> None:
    assert read_manifest_bytes(GOLDEN.read_bytes()) == manifest()
    assert canonical_json(manifest()) == GOLDEN.read_bytes().strip()


def test_a_manifest_tells_what_its_model_needs() -> None:
    plain = manifest(steps=())
    assert (plain.needs_process, plain.needs_frame, plain.isolated) == (False, False, False)
    framed = manifest(steps=(), predictor=msgspec.structs.replace(plain.predictor, frames="polars"))
    assert (framed.needs_process, framed.needs_frame, framed.isolated) == (False, True, True)
    stepped = manifest()
    assert (stepped.needs_process, stepped.needs_frame, stepped.isolated) == (True, True, True)
    assert plain.size_bytes == 16


def test_a_field_of_a_later_release_is_passed_over_and_a_later_format_is_told() -> None:
    document = msgspec.json.decode(GOLDEN.read_bytes())
    assert read_manifest_bytes(msgspec.json.encode({**document, "signed_by": "anna"})) == manifest()
    with pytest.raises(NewerFormat, match="format 2"):
        read_manifest_bytes(msgspec.json.encode({"format": 2, "model": "bike"}))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"format": 1}', b"\x80\x04K\x01.", b"[" * 100_000, b'{"format": "1"}']
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BadBundle):
        read_manifest_bytes(data)


def _with_path(path: str) -> bytes:
    bad = BundleFile(path=path, digest=digest_bytes(b""), size_bytes=0)
    return canonical_json(manifest(files=(*manifest().files, bad)))


@pytest.mark.parametrize(
    "path",
    [
        "../elsewhere",
        "/etc/passwd",
        "a/../../b",
        "a//b",
        "",
        ".",
        "..",
        ".hidden",
        "a/.ssh/keys",
        "a\\b",
        "a\x00b",
        "a\nb",
        "a b",
        "ä.txt",
        "~root",
        "a/" * 20 + "b",
        "x" * 300,
        "bundle.json",
        "model.txt/inside",
        "model.txt",
        "%2e%2e/x",
        "C:evil",
        "aux:",
        "-rf/..",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(BadBundle):
        read_manifest_bytes(_with_path(path))


@given(st.text(max_size=40))
def test_no_path_that_is_taken_leaves_the_folder(path: str) -> None:
    try:
        read_manifest_bytes(_with_path(path))
    except BadBundle:
        return
    folder = Path("/cache/bundle")
    assert Path(os.path.normpath(folder / path)).is_relative_to(folder)
    assert ".." not in path and not path.startswith(("/", "."))


@pytest.mark.parametrize(
    "changes",
    [
        {"golden": "none.json"},
        {"reference": "../reference.json"},
        {"derived": (DerivedForm(kind="onnx", path="none", max_abs_difference=0, tolerance=0, rows=0),)},
        {
            "files": (BundleFile(path="model.txt", digest="md5:1", size_bytes=0),),
            "golden": None,
            "reference": None,
        },
        {"predictor": PredictorSpec(kind="skops", path="none.skops", features=FEATURES)},
        {"predictor": PredictorSpec(kind="custom", path="model", features=FEATURES)},
        {"files": (*manifest().files, BundleFile(path="huge", digest=digest_bytes(b""), size_bytes=10**12))},
    ],
)
def test_a_manifest_that_does_not_hold_together_is_refused(changes: Any) -> None:
    with pytest.raises(BadBundle):
        read_manifest_bytes(canonical_json(manifest(**changes)))


def test_an_unknown_kind_of_model_is_refused() -> None:
    document = msgspec.json.decode(GOLDEN.read_bytes())
    document["predictor"]["kind"] = "pickle"
    with pytest.raises(BadBundle, match="pickle"):
        read_manifest_bytes(msgspec.json.encode(document))


def test_what_is_packed_is_fetched(blobs: Any, tmp_path: Path) -> None:
    folder = made(tmp_path / "made", **{"source/steps.py": b"x = 1\n", "golden.json": b"{}"})
    digest = pack(folder, blobs)
    assert digest == digest_bytes((folder / "bundle.json").read_bytes())
    fetched = fetch(digest, blobs, tmp_path / "cache")
    assert fetched == tmp_path / "cache" / digest.removeprefix("sha256:")
    assert read_manifest(digest, blobs) == read_folder_manifest(fetched, digest)
    for path in ("model.txt", "source/steps.py", "golden.json"):
        assert read_file(fetched, read_folder_manifest(fetched), path) == (folder / path).read_bytes()
    assert pack(folder, blobs) == digest
    assert fetch(digest, blobs, tmp_path / "cache") == fetched
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [fetched.name]


def test_the_same_content_is_the_same_bundle_wherever_it_was_made(tmp_path: Path, file_blobs: Any) -> None:
    first = made(tmp_path / "one", b=b"2", a=b"1")
    second = made(tmp_path / "two", a=b"1", b=b"2")
    os.utime(second / "a", (1, 1))
    assert pack(first, file_blobs) == pack(second, file_blobs)


def test_a_complete_cache_needs_no_store(tmp_path: Path, file_blobs: Any) -> None:
    digest = pack(made(tmp_path / "made"), file_blobs)
    fetch(digest, file_blobs, tmp_path / "cache")
    for key in file_blobs.list("objects"):
        file_blobs.delete(key)
    assert fetch(digest, file_blobs, tmp_path / "cache").is_dir()
    with pytest.raises(ObjectNotFound):
        fetch(digest, file_blobs, tmp_path / "other")


def test_a_folder_changed_after_sealing_is_not_packed(tmp_path: Path, file_blobs: Any) -> None:
    folder = made(tmp_path / "made")
    (folder / "model.txt").write_bytes(b"other")
    with pytest.raises(CorruptBundle, match=r"model\.txt"):
        pack(folder, file_blobs)
    folder = made(tmp_path / "again")
    (folder / "late.txt").write_bytes(b"late")
    with pytest.raises(BadBundle, match="after the folder was sealed"):
        pack(folder, file_blobs)


def test_links_and_pipes_are_not_packed(tmp_path: Path) -> None:
    folder = made(tmp_path / "made")
    (folder / "secret").symlink_to("/etc/passwd")
    with pytest.raises(BadBundle, match="link"):
        seal(folder, manifest())
    (folder / "secret").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(BadBundle, match="no plain file"):
        seal(folder, manifest())
    (folder / "pipe").unlink()
    (tmp_path / "other").mkdir()
    (folder / "below").symlink_to(tmp_path / "other")
    with pytest.raises(BadBundle, match="link"):
        seal(folder, manifest())


def test_nothing_is_read_through_a_link(tmp_path: Path, file_blobs: Any) -> None:
    digest = pack(made(tmp_path / "made", **{"source/steps.py": b"x = 1\n"}), file_blobs)
    fetched = fetch(digest, file_blobs, tmp_path / "cache")
    known = read_folder_manifest(fetched)
    (tmp_path / "twin.py").write_bytes(b"x = 1\n")
    (fetched / "source" / "steps.py").unlink()
    (fetched / "source" / "steps.py").symlink_to(tmp_path / "twin.py")
    with pytest.raises(CorruptBundle, match="can't be read"):
        read_file(fetched, known, "source/steps.py")
    (fetched / "source" / "steps.py").unlink()
    (fetched / "source").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "steps.py").write_bytes(b"x = 1\n")
    (fetched / "source").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptBundle, match="can't be read"):
        read_file(fetched, known, "source/steps.py")
    assert read_file(fetch(digest, file_blobs, tmp_path / "cache"), known, "source/steps.py") == b"x = 1\n"
    assert not (fetched / "source").is_symlink()


def test_a_file_that_is_not_listed_is_not_read(tmp_path: Path, file_blobs: Any) -> None:
    fetched = fetch(pack(made(tmp_path / "made"), file_blobs), file_blobs, tmp_path / "cache")
    (fetched / "extra").write_bytes(b"x")
    for path in ("extra", "../../../etc/passwd", "bundle.json"):
        with pytest.raises(BadBundle, match="holds no"):
            read_file(fetched, read_folder_manifest(fetched), path)


def test_copies_are_those_below_one_folder(tmp_path: Path) -> None:
    folder = made(tmp_path / "made", **{"source/a.py": b"a", "source/b/c.py": b"c", "sources.txt": b"no"})
    target = tmp_path / "copy"
    target.mkdir()
    copy_files(folder, read_folder_manifest(folder), "source", target)
    assert sorted(path.relative_to(target).as_posix() for path in target.rglob("*.*")) == ["a.py", "b/c.py"]


@pytest.mark.parametrize("digest", ["latest", "sha256:zz", "../../x", "sha256:" + "a" * 63, ""])
def test_what_is_no_digest_is_not_fetched(digest: str, tmp_path: Path, file_blobs: Any) -> None:
    with pytest.raises(BadBundle, match="no digest"):
        fetch(digest, file_blobs, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
