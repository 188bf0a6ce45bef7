"""Registration, the last step of a run: version, evidence, end of the run, events and audit in one transaction."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection

from flyball.core.clock import isoformat
from flyball.core.contract import Contract
from flyball.pipelines.stages.ending import end_run, keep_log
from flyball.pipelines.stages.job import Given, Job, Made
from flyball.registry.evidence import add_evidence
from flyball.registry.known_champion import keep_lineage
from flyball.registry.versions import ModelVersion, NewVersion, find_by_digest, find_by_run, register_version


def register(job: Job, given: Given) -> Made:
    """The version that the run came to: a new one or, when nothing changed, the one that stands already.

    A version that fails a gate or a model test, or leaves one undecided, is kept as `refused`. A run that is not to
    register ends as `compared`, with its result and no version.
    """
    asked, lineage = [*given.evaluated["gates"], *given.tests], _lineage(job, given)
    state = "registered" if all(item["outcome"] == "pass" for item in asked) else "refused"
    new = _new_version(job, given, state, lineage)
    unread = _unread_params(job, new)
    for warning in unread:
        job.bench.write_line(f"warning: {warning}")
    result = _result(given, lineage, unread)
    if not job.request.registers:
        return _end_compared(job, given.evaluated["bundle"], result)
    if state == "registered" and job.shop.settings.cache == "read-write":
        keep_lineage(job.shop.blobs, given.evaluated["bundle"], lineage)
    job.bench.write_line(f"{state}: {given.evaluated['bundle']}")
    log = keep_log(job.shop, job.run_id)
    outputs: dict[str, Any] = {"state": state, "digest": given.evaluated["bundle"]}

    def commit(conn: Connection) -> None:
        now = job.shop.clock.now()
        # Its own version is there already if the process died between this transaction and the step's record.
        known = find_by_run(conn, job.run_id)
        version = known or _find_standing(conn, new)
        is_cached = known is None and version is not None
        if version is None:
            version = register_version(conn, new, job.request.actor, now)
            _add_evidence(conn, job, given, version)
        outputs.update(version=version.number, cached=is_cached)
        end_run(
            conn,
            job.run_id,
            job.request,
            now,
            state=state,
            version=version.number,
            is_cached=is_cached,
            result=result,
            log=log,
        )

    return Made(outputs, {"state": state, "digest": given.evaluated["bundle"]}, commit=commit)


def _result(given: Given, lineage: dict[str, Any], unread: list[str]) -> dict[str, Any]:
    """What the row of the run keeps of it. unread: warnings of parameters that changed nothing."""
    result = {
        "digest": given.evaluated["bundle"],
        "snapshot": given.prepared["snapshot"],
        "metrics": given.evaluated["metrics"],
        "gates": given.evaluated["gates"],
        "tests": given.tests,
        "slices": given.evaluated["slices"],
        "comparison": given.evaluated["comparison"],
        "warnings": [
            *(finding["sentence"] for finding in given.prepared["findings"]),
            *given.evaluated["warnings"],
            *unread,
        ],
        "rows": given.prepared["rows"],
        "package": given.evaluated["package"],
        "training": {"fit_seconds": given.trained["fit_seconds"], "max_rss_mb": given.trained["max_rss_mb"]},
        "contract": given.trained["contract"],
        "positive": given.prepared["positive"],
        "environment": given.environment["digest"],
        "lineage": lineage,
        "held_out": given.digest_of("test.parquet") if given.trained["has_frames"] else None,
    }
    if given.source["champion"] is not None:
        result["champion"] = {**given.source["champion"], "lineage": given.source["champion_lineage"]}
    return result


def _end_compared(job: Job, digest: str, result: dict[str, Any]) -> Made:
    log = keep_log(job.shop, job.run_id)

    def commit(conn: Connection) -> None:
        now = job.shop.clock.now()
        end_run(conn, job.run_id, job.request, now, state="compared", result=result, log=log)

    return Made(
        {"state": "compared", "digest": digest}, {"state": "compared", "digest": digest}, commit=commit
    )


def _unread_params(job: Job, new: NewVersion) -> list[str]:
    """A warning where other parameters gave the very bytes of an earlier version: most often one is mistyped."""
    with job.shop.database.read() as conn:
        same = [version for version in find_by_digest(conn, new.digest) if version.model == new.model]
    if not same or any(version.params == new.params for version in same):
        return []
    before = same[-1].params
    names = [name for name in {**before, **new.params} if before.get(name) != new.params.get(name)]
    return [
        f"[train.params] differs from that of {new.model}@{same[-1].number} in {', '.join(names)}, and the package is "
        "the same: does the training read a parameter of this name?"
    ]


def _find_standing(conn: Connection, new: NewVersion) -> ModelVersion | None:
    """The newest version that is the same in content, settings and verdict."""
    same = [
        version
        for version in find_by_digest(conn, new.digest)
        if (version.model, version.state, version.project) == (new.model, new.state, new.project)
    ]
    return same[-1] if same else None


def _new_version(job: Job, given: Given, state: Any, lineage: dict[str, Any]) -> NewVersion:
    request, project = job.request, job.project
    metrics = {name: measured["value"] for name, measured in given.evaluated["metrics"].items()}
    return NewVersion(
        model=request.model,
        task=project.model.task,
        digest=given.evaluated["bundle"],
        state=state,
        author=request.actor.name,
        run_id=job.run_id,
        isolated=given.evaluated["isolated"],
        snapshot=given.prepared["snapshot"],
        source_tree=given.source["tree"],
        environment=given.environment["digest"],
        project=_plain(project),
        contract=msgspec.convert(given.trained["contract"], Contract),
        params=_plain(project.train.params),
        metrics=metrics,
        lineage=lineage,
        why=request.why,
        owner=project.model.owner,
        description=project.model.description,
    )


def _lineage(job: Job, given: Given) -> dict[str, Any]:
    request = job.request
    ranges = [part for part in _fitted_ranges(given.prepared, job.project.train.refit) if part is not None]
    champion = given.source["champion"]
    return {
        "run_id": job.run_id,
        "tree": given.source["tree"],
        "code": given.source["code"],
        "git": given.source["git"],
        "environment": given.environment["digest"],
        "snapshot": given.prepared["snapshot"],
        "trained_rows": given.evaluated["seen"],
        "rows": given.prepared["rows"],
        "trained_from": min((part["from"] for part in ranges), default=None),
        "trained_until": max((part["until"] for part in ranges), default=None),
        "test_from": (given.prepared["ranges"]["test"] or {}).get("from"),
        "test_until": (given.prepared["ranges"]["test"] or {}).get("until"),
        "split": given.prepared["split"],
        "split_settings": _plain(job.split),
        "seed": job.project.train.seed,
        "files": given.trained["files"],
        "refit": job.project.train.refit,
        "champion": None if champion is None else champion["number"],
        "signal_id": request.signal_id,
        "incident_id": request.incident_id,
        "decided_at": isoformat(request.decided_at) if request.decided_at else None,
    }


def _fitted_ranges(prepared: dict[str, Any], refit: bool) -> list[dict[str, str] | None]:
    names = ["train", "validation", "test"] if refit else ["train", "validation"]
    return [prepared["ranges"][name] for name in names]


def _add_evidence(conn: Connection, job: Job, given: Given, version: ModelVersion) -> None:
    actor, now = job.request.actor, job.shop.clock.now()
    facts = {
        "metrics": given.evaluated["metrics"],
        "slices": given.evaluated["slices"],
        "package": given.evaluated["package"],
        "comparison": given.evaluated["comparison"],
        "run_id": job.run_id,
    }
    add_evidence(conn, version.model, version.number, "evaluation", facts, actor=actor, now=now)
    for gate in given.evaluated["gates"]:
        add_evidence(conn, version.model, version.number, "gate", gate, actor=actor, now=now)
    if given.tests:
        told = {"run_id": job.run_id, "tests": given.tests}
        add_evidence(conn, version.model, version.number, "tests", told, actor=actor, now=now)


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))
