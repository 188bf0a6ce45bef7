"""The stages of a check that compare a change with the champion and with its base. They inform; gates decide."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from flyball.core.errors import FlyballError
from flyball.operations.ci.base import BaseRun, run_base
from flyball.operations.ci.contrasts import Side, contrast_run, side_of
from flyball.operations.ci.differences import data_difference, environment_changes, package_facts
from flyball.operations.ci.draft import Check, Draft
from flyball.operations.ci.findings import changed_predictions, importances, metric_lines
from flyball.operations.ci.report import Compared
from flyball.operations.opening import Backends
from flyball.pipelines.hidden import hidden_columns
from flyball.pipelines.runs import Run
from flyball.registry.evidence import list_evidence
from flyball.registry.versions import ModelVersion, find_version, list_versions


class Champion(msgspec.Struct, frozen=True, kw_only=True):
    """The version in service that a run was compared with; its number may be one of another home."""

    number: int
    digest: str
    lineage: dict[str, Any]


def compare_change(check: Check, run: Run) -> None:
    """Fill in all that compares, and end the stages `base` and `comparison`."""
    draft, result, began = check.draft, run.result or {}, time.monotonic()
    base = _run_base(check, run)
    _end_base(draft, base, began)
    champion = _champion(result)
    began, sides = time.monotonic(), list[Side]()
    if champion is not None and champion.digest != result["digest"]:
        sides.append(side_of("champion", champion.digest, champion.lineage))
    if base.run is not None and base.run.result and base.run.result["digest"] != result["digest"]:
        sides.append(side_of("base", base.run.result["digest"], base.run.result["lineage"]))
    contrasts: dict[str, Any] = {"others": {}, "importances": {}}
    if sides:
        try:
            contrasts = contrast_run(check.backends, check.shop, run, sides)
        except FlyballError as error:
            draft.warn(f"the comparison could not be made: {error.message}")
    others = contrasts["others"]
    _end_comparison(draft, base, champion, others, began)
    closest = "base" if "base" in others else "champion"
    draft.facts.update(
        metrics=metric_lines(result, others, check.file.project.data.protected),
        changed_predictions=changed_predictions(others.get(closest)),
        importances=importances(contrasts["importances"], closest),
        package_now=package_facts(result["package"], result["training"]),
    )
    _describe(check, run, base, champion)


def _run_base(check: Check, run: Run) -> BaseRun:
    draft = check.draft
    if draft.git.base is None:
        return BaseRun(
            because="no base to compare with" + "".join(f": {note}" for note in draft.git.notes[-1:])
        )
    try:
        return run_base(check, run)
    except FlyballError as error:
        return BaseRun(because=f"{draft.git.base_name} could not be run: {error.message}")


def _champion(result: dict[str, Any]) -> Champion | None:
    known = result.get("champion")
    return None if known is None else Champion(**known)


def _name(draft: Draft) -> str:
    return f"{draft.git.base_name} {(draft.git.base or '')[:12]}".strip()


def _end_base(draft: Draft, base: BaseRun, began: float) -> None:
    for note in base.notes:
        draft.warn(note)
    if base.is_same:
        draft.end("base", "pass", f"the project's files are those of {_name(draft)}", began, cached=True)
    elif base.run is None or base.run.result is None:
        draft.end("base", "skipped", base.because or "", began)
    else:
        result = base.run.result
        draft.facts["package_before"] = package_facts(result["package"], result["training"])
        draft.end("base", "pass", f"{_name(draft)} was run on the rows of the change", began)


def _end_comparison(
    draft: Draft, base: BaseRun, champion: Champion | None, others: dict[str, Any], began: float
) -> None:
    """Note what differs from champion and base; it informs, so it never fails."""
    said = []
    if champion is not None:
        draft.facts["champion"] = _compared(
            "champion", champion.number, champion.digest, others.get("champion")
        )
        said.append(_said(f"champion (version {champion.number})", others.get("champion")))
    if base.run is not None and base.run.result is not None:
        digest = base.run.result["digest"]
        draft.facts["base"] = _compared(_name(draft), None, digest, others.get("base"))
        if (
            champion is not None
            and champion.digest == digest
            and others.get("champion") == others.get("base")
        ):
            both = f"champion (version {champion.number}) and {_name(draft)}"
            said = [_said(both, others.get("base"))]
        else:
            said.append(_said(_name(draft), others.get("base")))
    nothing = "there is no champion in this home, and no other base"
    draft.end("comparison", "pass" if said else "skipped", said or nothing, began)


def _compared(name: str, number: int | None, digest: str, contrast: dict[str, Any] | None) -> Compared:
    facts = contrast or {"rows": 0, "left_out": 0, "because": "it is the same package"}
    return Compared(
        name=name,
        number=number,
        digest=digest,
        rows=facts["rows"],
        left_out=facts["left_out"],
        because=facts["because"],
    )


def _said(name: str, contrast: dict[str, Any] | None) -> str:
    if contrast is None:
        return f"the package is that of {name}"
    if contrast["because"] is not None:
        return f"not compared with {name}: {contrast['because']}"
    named = [
        f"{found['label']} in {found['metric']}"
        + (f" where {found['column']} = {found['level']}" if found["column"] else "")
        for found in contrast["differences"]
        if found["label"] in ("better", "worse")
    ]
    shown = ", ".join(named[:6]) + (f" and {len(named) - 6} more" if len(named) > 6 else "")
    return f"compared with {name} on {contrast['rows']:,} rows: {shown or 'no difference is shown'}"


def _describe(check: Check, run: Run, base: BaseRun, champion: Champion | None) -> None:
    """Data, contract and environment beside those of the base or, where those are the same, of a version before."""
    draft, backends, result = check.draft, check.backends, run.result or {}
    before = _version_before(backends, run, champion)
    snapshot = None if before is None else before.snapshot
    contract = None if before is None else msgspec.to_builtins(before.contract)
    if base.run is not None and base.run.result is not None:
        contract = base.run.result["contract"]
        if base.run.result["snapshot"] != result["snapshot"]:
            snapshot = base.run.result["snapshot"]
        snapshot = base.snapshot or snapshot
    try:
        draft.facts["data"] = data_difference(
            backends.blobs, snapshot, result, contract, hidden_columns(check.file.project.log)
        )
    except FlyballError as error:
        draft.warn(f"the data could not be compared: {error.message}")
    if before is None:
        return
    draft.facts["environment"] = environment_changes(
        backends.blobs, before.environment, result["environment"]
    )
    if "package_before" not in draft.facts:
        with backends.database.read() as conn:
            found = list_evidence(conn, before.model, before.number, kind="evaluation")
        if found:
            draft.facts["package_before"] = package_facts(found[-1].facts.get("package"), None)


def _version_before(backends: Backends, run: Run, champion: Champion | None) -> ModelVersion | None:
    """The champion where this home has it, else the newest version of the model besides the one of the run."""
    with backends.database.read() as conn:
        if champion is not None:
            found = find_version(conn, run.model, champion.number)
            return found if found is not None and found.digest == champion.digest else None
        for version in list_versions(conn, run.model, limit=20):
            if version.number != run.version and version.state == "registered":
                return version
    return None
