"""Registration, the last step of a run: version, evidence, end of the run, events and audit in one transaction."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection

from flyball.core.clock import isoformat
from flyball.core.contract import Contract
from flyball.pipelines.stages.ending import end_run, keep_log
from flyball.pipelines.stages.job import Job, Made
from flyball.registry.evidence import add_evidence
from flyball.registry.known_champion import keep_lineage
from flyball.registry.versions import ModelVersion, NewVersion, find_by_digest, find_by_run, register_version


def register(
    job: Job,
    source: dict[str, Any],
    environment: dict[str, Any],
    prepared: dict[str, Any],
    trained: dict[str, Any],
    evaluated: dict[str, Any],
    tested: dict[str, Any],
) -> Made:
    """The version that the run came to: a new one or, when nothing changed, the one that stands already.

    A version that fails a gate or a model test, or leaves one undecided, is kept as `refused`. A run that is not to
    register ends as `compared`, with its result and no version.
    """
    gates = evaluated["gates"]
    tests = tested["tests"]
    state = "registered" if all(item["outcome"] == "pass" for item in [*gates, *tests]) else "refused"
    new = _new_version(job, state, source, environment, prepared, trained, evaluated)
    result = {
        "digest": evaluated["bundle"],
        "snapshot": prepared["snapshot"],
        "metrics": evaluated["metrics"],
        "gates": gates,
        "tests": tests,
        "slices": evaluated["slices"],
        "comparison": evaluated["comparison"],
        "warnings": [finding["sentence"] for finding in prepared["findings"]] + evaluated["warnings"],
        "rows": prepared["rows"],
        "package": evaluated["package"],
        "training": {"fit_seconds": trained["fit_seconds"], "max_rss_mb": trained["max_rss_mb"]},
        "contract": trained["contract"],
        "positive": prepared["positive"],
        "environment": environment["digest"],
        "lineage": _lineage(job, source, environment, prepared, trained, evaluated),
        "held_out": _digest_of(trained, "test.parquet") if trained["has_frames"] else None,
    }
    if source["champion"] is not None:
        result["champion"] = {**source["champion"], "lineage": source["champion_lineage"]}
    if not job.request.registers:
        return _end_compared(job, evaluated["bundle"], result)
    if state == "registered" and job.shop.settings.cache == "read-write":
        keep_lineage(job.shop.blobs, evaluated["bundle"], result["lineage"])
    job.bench.write_line(f"{state}: {evaluated['bundle']}")
    log = keep_log(job.shop, job.run_id)
    outputs: dict[str, Any] = {"state": state, "digest": evaluated["bundle"]}

    def commit(conn: Connection) -> None:
        now = job.shop.clock.now()
        # Its own version is there already if the process died between this transaction and the step's record.
        known = find_by_run(conn, job.run_id)
        version = known or _find_standing(conn, new)
        is_cached = known is None and version is not None
        if version is None:
            version = register_version(conn, new, job.request.actor, now)
            _add_evidence(conn, job, version, evaluated, tests)
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

    return Made(outputs, {"state": state, "digest": evaluated["bundle"]}, commit=commit)


def _end_compared(job: Job, digest: str, result: dict[str, Any]) -> Made:
    log = keep_log(job.shop, job.run_id)

    def commit(conn: Connection) -> None:
        now = job.shop.clock.now()
        end_run(conn, job.run_id, job.request, now, state="compared", result=result, log=log)

    return Made(
        {"state": "compared", "digest": digest}, {"state": "compared", "digest": digest}, commit=commit
    )


def _digest_of(trained: dict[str, Any], path: str) -> str | None:
    return next((str(file["digest"]) for file in trained["files"] if file["path"] == path), None)


def _find_standing(conn: Connection, new: NewVersion) -> ModelVersion | None:
    """The newest version that is the same in content, settings and verdict."""
    same = [
        version
        for version in find_by_digest(conn, new.digest)
        if (version.model, version.state, version.project) == (new.model, new.state, new.project)
    ]
    return same[-1] if same else None


def _new_version(
    job: Job,
    state: Any,
    source: dict[str, Any],
    environment: dict[str, Any],
    prepared: dict[str, Any],
    trained: dict[str, Any],
    evaluated: dict[str, Any],
) -> NewVersion:
    request, project = job.request, job.project
    metrics = {name: measured["value"] for name, measured in evaluated["metrics"].items()}
    return NewVersion(
        model=request.model,
        task=project.model.task,
        digest=evaluated["bundle"],
        state=state,
        author=request.actor.name,
        run_id=job.run_id,
        isolated=evaluated["isolated"],
        snapshot=prepared["snapshot"],
        source_tree=source["tree"],
        environment=environment["digest"],
        project=_plain(project),
        contract=msgspec.convert(trained["contract"], Contract),
        params=_plain(project.train.params),
        metrics=metrics,
        lineage=_lineage(job, source, environment, prepared, trained, evaluated),
        why=request.why,
        owner=project.model.owner,
        description=project.model.description,
    )


def _lineage(
    job: Job,
    source: dict[str, Any],
    environment: dict[str, Any],
    prepared: dict[str, Any],
    trained: dict[str, Any],
    evaluated: dict[str, Any],
) -> dict[str, Any]:
    request = job.request
    ranges = [part for part in _fitted_ranges(prepared, job.project.train.refit) if part is not None]
    champion = source["champion"]
    return {
        "run_id": job.run_id,
        "tree": source["tree"],
        "code": source["code"],
        "git": source["git"],
        "environment": environment["digest"],
        "snapshot": prepared["snapshot"],
        "trained_rows": evaluated["seen"],
        "rows": prepared["rows"],
        "trained_from": min((part["from"] for part in ranges), default=None),
        "trained_until": max((part["until"] for part in ranges), default=None),
        "test_from": (prepared["ranges"]["test"] or {}).get("from"),
        "test_until": (prepared["ranges"]["test"] or {}).get("until"),
        "split": prepared["split"],
        "split_settings": _plain(job.split),
        "seed": job.project.train.seed,
        "files": trained["files"],
        "refit": job.project.train.refit,
        "champion": None if champion is None else champion["number"],
        "signal_id": request.signal_id,
        "incident_id": request.incident_id,
        "decided_at": isoformat(request.decided_at) if request.decided_at else None,
    }


def _fitted_ranges(prepared: dict[str, Any], refit: bool) -> list[dict[str, str] | None]:
    names = ["train", "validation", "test"] if refit else ["train", "validation"]
    return [prepared["ranges"][name] for name in names]


def _add_evidence(
    conn: Connection,
    job: Job,
    version: ModelVersion,
    evaluated: dict[str, Any],
    tests: list[dict[str, Any]],
) -> None:
    actor, now = job.request.actor, job.shop.clock.now()
    facts = {
        "metrics": evaluated["metrics"],
        "slices": evaluated["slices"],
        "package": evaluated["package"],
        "comparison": evaluated["comparison"],
        "run_id": job.run_id,
    }
    add_evidence(conn, version.model, version.number, "evaluation", facts, actor=actor, now=now)
    for gate in evaluated["gates"]:
        add_evidence(conn, version.model, version.number, "gate", gate, actor=actor, now=now)
    if tests:
        told = {"run_id": job.run_id, "tests": tests}
        add_evidence(conn, version.model, version.number, "tests", told, actor=actor, now=now)


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))
