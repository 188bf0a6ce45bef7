"""Data, contract, environment and package of a change beside those of the version it is compared with."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.backends.blobs.store import BlobStore
from flyball.core.errors import FlyballError
from flyball.operations.ci.report import ColumnDifference, DataDifference, PackageChange, PackageFacts
from flyball.pipelines.environment import Environment
from flyball.pipelines.hidden import HIDDEN

if TYPE_CHECKING:
    import polars as pl

LEAST_DISTANCE = 0.05  # below it, samples of a few hundred rows of one source differ by chance


def data_difference(
    blobs: BlobStore,
    before: str | None,
    result: dict[str, Any],
    contract_before: dict[str, Any] | None,
    hidden: Collection[str] = (),
) -> DataDifference:
    """Rows and columns of a run's data beside those of a snapshot; None for `before` says that nothing is known.

    hidden: columns whose values are not shown, nor the rules and means that are made of them.
    Raises SnapshotNotFound, CorruptObject where one can't be read.
    """
    columns = list(_contract_changes(contract_before or {}, result["contract"]))
    rows_before: int | None = None
    if before == result["snapshot"]:
        rows_before = result["rows"]["source"]
    elif before is not None:
        from flyball.data.snapshots import read_snapshot

        old, new = read_snapshot(before, blobs), read_snapshot(result["snapshot"], blobs)
        rows_before = old.height
        columns += _column_changes(old, new)
    columns = [_without_values(column) if column.column in hidden else column for column in columns]
    return DataDifference(
        rows_before=rows_before,
        rows_after=result["rows"]["source"],
        snapshot_before=before,
        snapshot_after=result["snapshot"],
        columns=columns,
    )


def _without_values(column: ColumnDifference) -> ColumnDifference:
    """A type is shown; what else stands there is made of values."""
    if column.change in ("contract", "distribution"):
        sides = [None if side is None else HIDDEN for side in (column.before, column.after)]
        return msgspec.structs.replace(column, before=sides[0], after=sides[1])
    return column


def _column_changes(old: pl.DataFrame, new: pl.DataFrame) -> Iterator[ColumnDifference]:
    for name in old.columns:
        if name not in new.columns:
            yield ColumnDifference(column=name, change="removed", before=str(old.schema[name]))
        elif old.schema[name] != new.schema[name]:
            types = str(old.schema[name]), str(new.schema[name])
            yield ColumnDifference(column=name, change="type", before=types[0], after=types[1])
    for name in new.columns:
        if name not in old.columns:
            yield ColumnDifference(column=name, change="added", after=str(new.schema[name]))
    yield from _shifts(old, new)


def _shifts(old: pl.DataFrame, new: pl.DataFrame) -> list[ColumnDifference]:
    """Columns whose values are distributed otherwise, the farthest first."""
    import polars as pl

    from flyball.judge.drift.profile import Kind, fit_reference, summarise
    from flyball.judge.drift.statistics import compare

    shared = [name for name in old.columns if name in new.columns and old.schema[name] == new.schema[name]]
    kinds: dict[str, Kind] = {}
    for name in shared:
        kind = old.schema[name]
        if kind.is_numeric():
            kinds[name] = "numeric"
        elif kind in (pl.String, pl.Boolean):
            kinds[name] = "category"
    reference = fit_reference(_columns(old, kinds), kinds)
    found = []
    for name, drift in compare(reference, summarise(reference, _columns(new, kinds))).items():
        if drift.js >= LEAST_DISTANCE or abs(drift.missing_share - drift.reference_missing_share) >= 0.01:
            before = _shape(drift.reference_mean, drift.reference_missing_share)
            after = _shape(drift.mean, drift.missing_share)
            found.append(
                ColumnDifference(
                    column=name, change="distribution", before=before, after=after, distance=drift.js
                )
            )
    return sorted(found, key=lambda item: -(item.distance or 0.0))


def _columns(frame: pl.DataFrame, kinds: dict[str, Any]) -> dict[str, Any]:
    import polars as pl

    return {
        name: frame.get_column(name).cast(pl.Float64).to_numpy()
        if kind == "numeric"
        else frame.get_column(name).cast(pl.String).to_list()
        for name, kind in kinds.items()
    }


def _shape(mean: float | None, missing: float) -> str:
    words = [] if mean is None else [f"mean {mean:.4g}"]
    return ", ".join([*words, f"{100 * missing:.3g} % missing"])


def _contract_changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[ColumnDifference]:
    """Features whose rule is another one; a contract is inferred where the project fixes none."""
    old, new = before.get("features", {}), after.get("features", {})
    for name in dict.fromkeys((*old, *new)):
        if old and old.get(name) != new.get(name):
            texts = [None if rule is None else _rule(rule) for rule in (old.get(name), new.get(name))]
            yield ColumnDifference(column=name, change="contract", before=texts[0], after=texts[1])


def _rule(rule: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in rule.items() if value is not None)


def environment_changes(blobs: BlobStore, before: str | None, after: str) -> list[PackageChange]:
    """Packages, and Python itself, whose version is another one; empty where the one before is not known."""
    if before is None or before == after:
        return []
    try:
        old, new = (_environment(blobs, digest) for digest in (before, after))
    except (FlyballError, msgspec.MsgspecError):
        return []
    return [
        PackageChange(package=name, before=old.get(name), after=new.get(name))
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]


def _environment(blobs: BlobStore, digest: str) -> dict[str, str]:
    found = msgspec.json.decode(blobs.get_object(digest), type=Environment)
    return {"python": found.python, "platform": found.platform, **found.packages}


def package_facts(package: dict[str, Any] | None, training: dict[str, Any] | None) -> PackageFacts:
    """What a run measured of its package and its training."""
    package, training = package or {}, training or {}
    return PackageFacts(
        latency_p50_ms=package.get("latency_p50_ms"),
        latency_p99_ms=package.get("latency_p99_ms"),
        package_mb=package.get("package_mb"),
        memory_mb=package.get("memory_mb"),
        fit_seconds=training.get("fit_seconds"),
        training_mb=training.get("max_rss_mb"),
    )
