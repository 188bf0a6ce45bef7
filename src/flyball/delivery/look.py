"""Looks at rollouts: what the log says about a candidate by now, and the one move that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection

from flyball.backends.blobs.store import BlobStore
from flyball.backends.db.database import Database
from flyball.core.durations import parse_duration
from flyball.core.project import Project
from flyball.data.log_counts import get_counts
from flyball.delivery import rollouts, transitions
from flyball.delivery.approvals import find_rejection
from flyball.delivery.due import first_day, next_day
from flyball.delivery.evidence import DAY, StepShare, canary_evidence, failing, shadow_evidence, tell_failures
from flyball.delivery.faults import find_faults, tell_faults
from flyball.delivery.rollouts import Rollout
from flyball.delivery.transitions import Moment
from flyball.governance.actors import SYSTEM
from flyball.judge.metrics.table import default_loss
from flyball.judge.rollout import Decision, RolloutRules, next_action, rules_of
from flyball.monitoring.reference import Standard, load_standard
from flyball.registry.versions import get_version

if TYPE_CHECKING:
    import polars as pl

# A shadow that fails this often is taken out, whatever its guards: rows without an answer can't be compared.
LEAST_FAILURES, LEAST_FAILED_SHARE = 5, 0.01


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """A move that was made: which rollout, from which state to which, and why. `model_time` is its moment."""

    rollout_id: str
    model: str
    version: int
    action: str
    state: str
    because: str
    model_time: datetime


class _Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, the moment of model time it belongs to, and up to which day boundary it looked."""

    decision: Decision
    at: datetime
    looked_until: datetime | None


class _Case(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout that is looked at: by which rules, held against which champion, at which moments."""

    rollout: Rollout
    project: Project
    rules: RolloutRules
    standard: Standard
    model_now: datetime
    wall_now: datetime

    @property
    def outcome_delay(self) -> timedelta:
        return parse_duration(self.project.data.outcome_delay)

    @property
    def baked(self) -> timedelta:
        return self.wall_now - self.rollout.step_started_at


def look_all(
    database: Database,
    blobs: BlobStore,
    tables_url: str,
    models: Mapping[str, datetime],
    wall_now: datetime,
) -> list[Applied]:
    """One look at each running rollout of these models (with their model times); the moves that were made."""
    applied = []
    for model, model_now in models.items():
        with database.read() as conn:
            rollout = rollouts.find_running(conn, model)
        if rollout is not None and rollout.state == "running":
            done = look(database, blobs, tables_url, rollout.id, model_now, wall_now)
            applied += [done] if done is not None else []
    return applied


def look(
    database: Database,
    blobs: BlobStore,
    tables_url: str,
    rollout_id: str,
    model_now: datetime,
    wall_now: datetime,
) -> Applied | None:
    """Judge a rollout by what is known now, and make the one move that follows; None while it waits.

    A shadow is judged day by day, each day for the moment at which its outcomes were due, so that being late changes
    nothing. A candidate whose breaker tripped is taken out at once. Each move is one transaction.
    """
    with database.read() as conn:
        rollout = rollouts.get_rollout(conn, rollout_id)
    if rollout.state != "running":
        return None
    faults = find_faults(blobs, rollout.model, rollout.candidate, rollout.started_at, wall_now)
    if faults:
        decision = Decision(action="abort", because=tell_faults(rollout.candidate, faults))
        verdict = _Verdict(decision=decision, at=model_now, looked_until=rollout.looked_until)
        return _apply(database, rollout, verdict, {"faults": faults}, wall_now)
    project = msgspec.convert(rollout.project, Project)
    standard = _standard(database, blobs, rollout)
    case = _Case(
        rollout=rollout,
        project=project,
        rules=_rules(rollout, project, standard),
        standard=standard,
        model_now=model_now,
        wall_now=wall_now,
    )
    look_at = _look_canary if rollout.strategy == "canary" else _look_shadow
    return look_at(database, tables_url, case)


def _look_shadow(database: Database, tables_url: str, case: _Case) -> Applied | None:
    rollout, delay = case.rollout, case.outcome_delay
    days = _days_to_judge(case)
    if not days:
        return None
    frame = _read(tables_url, rollout, first_day(rollout), days[-1], days[-1] + delay, ("champion", "shadow"))
    verdict: _Verdict | None = None
    more: dict[str, Any] = {}
    for day_end in days:
        at = day_end + delay
        seen = frame.filter(frame["at"] < day_end)
        failure = failing(seen, least_rows=LEAST_FAILURES, least_share=LEAST_FAILED_SHARE)
        if failure is not None:
            decision = Decision(action="abort", because=failure)
        else:
            evidence = shadow_evidence(
                frame,
                case.rules,
                case.standard.shape,
                until=day_end,
                outcome_delay=delay,
                elapsed=at - rollout.started_model_at,
                baked=case.baked,
            )
            decision = next_action(case.rules, evidence)
            more = {"requests": evidence.candidate_requests}
        verdict = _Verdict(decision=decision, at=at, looked_until=day_end)
        if decision.action != "wait":
            break
    if verdict is None:
        return None
    return _apply(database, rollout, verdict, more, case.wall_now)


def _days_to_judge(case: _Case) -> list[datetime]:
    """Ends of the days that became due, oldest first; the last one again, once only its bake was missing."""
    rollout, bake_seconds = case.rollout, case.rules.bake_seconds
    days = []
    end = next_day(rollout)
    while end + case.outcome_delay <= case.model_now:
        days.append(end)
        end += DAY
    if days or rollout.looked_until is None or bake_seconds <= 0:
        return days
    baked_then = rollout.evidence.get("bake_elapsed_seconds", 0.0)
    return [rollout.looked_until] if baked_then < bake_seconds <= case.baked.total_seconds() else []


def _look_canary(database: Database, tables_url: str, case: _Case) -> Applied | None:
    rollout, model_now = case.rollout, case.model_now
    with database.read() as conn:
        batch = get_counts(conn, rollout.model).batch
    elapsed = model_now - rollout.started_model_at
    if not _is_news(rollout, case.rules, batch, case.baked, elapsed):
        return None
    # Clients name event times themselves: the deployment's revision says what belongs to the rollout.
    start, end = first_day(rollout) - DAY, model_now + DAY
    frame = _read(tables_url, rollout, start, end, model_now, ("champion", "candidate"))
    evidence = canary_evidence(
        frame,
        case.rules,
        case.standard.shape,
        [StepShare(revision=step.revision, share=step.share) for step in rollout.steps],
        outcome_delay=case.outcome_delay,
        model_now=model_now,
        elapsed=elapsed,
        baked=case.baked,
    )
    evidence = msgspec.structs.replace(evidence, step=rollout.step)
    decision = next_action(case.rules, evidence)
    failures = tell_failures(frame)
    if decision.action == "abort" and failures is not None:
        decision = msgspec.structs.replace(decision, because=f"{decision.because}; {failures}")
    verdict = _Verdict(decision=decision, at=model_now, looked_until=None)
    return _apply(
        database, rollout, verdict, {"batch": batch, "requests": evidence.candidate_requests}, case.wall_now
    )


def _is_news(rollout: Rollout, rules: RolloutRules, batch: int, baked: timedelta, elapsed: timedelta) -> bool:
    """Whether anything changed since the last look that could change the answer."""
    last = rollout.evidence
    if last.get("step") != rollout.step or last.get("batch") != batch:
        return True
    then = last.get("bake_elapsed_seconds", 0.0)
    if then < rules.bake_seconds <= baked.total_seconds():
        return True
    return elapsed.total_seconds() >= rules.max_duration_seconds


def _read(
    tables_url: str,
    rollout: Rollout,
    start: datetime,
    end: datetime,
    known_by: datetime,
    roles: tuple[str, ...],
) -> pl.DataFrame:
    import polars as pl

    from flyball.data.predictions import read_labelled

    frame = read_labelled(tables_url, rollout.model, start, end, known_by, roles=roles, features=[])
    return frame.filter(pl.col("revision").is_in([step.revision for step in rollout.steps]))


def _apply(
    database: Database, rollout: Rollout, verdict: _Verdict, more: dict[str, Any], wall_now: datetime
) -> Applied | None:
    """Make the decided move, unless somebody else moved the rollout meanwhile; what people rejected is taken out."""
    decision = verdict.decision
    moment = Moment(now=wall_now, model_time=verdict.at)
    evidence = {
        "step": rollout.step,
        "at": verdict.at.astimezone(UTC).isoformat(),
        "action": decision.action,
        "because": decision.because,
        "undecided": decision.undecided,
        "bake_elapsed_seconds": (wall_now - rollout.step_started_at).total_seconds(),
        "guards": msgspec.to_builtins(decision.guards),
        **msgspec.to_builtins(more),
    }
    with database.write() as conn:
        present = rollouts.get_rollout(conn, rollout.id)
        if (present.state, present.step_started_at) != (rollout.state, rollout.step_started_at):
            return None  # paused, resumed or moved on meanwhile
        rejection = find_rejection(conn, rollout.model, rollout.candidate, rollout.digest)
        if rejection is not None:
            decision = Decision(action="abort", because=rejection)  # a person's no, whatever the rows say
        if verdict.looked_until is not None:
            present = rollouts.change(conn, rollout.id, looked_until=verdict.looked_until)
        if decision.action == "wait":
            rollouts.change(conn, rollout.id, evidence=evidence)
            return None
        moved = _move(conn, present, decision, evidence, moment)
    return Applied(
        rollout_id=rollout.id,
        model=rollout.model,
        version=rollout.candidate,
        action=decision.action,
        state=moved.state,
        because=decision.because,
        model_time=verdict.at,
    )


def _move(
    conn: Connection, rollout: Rollout, decision: Decision, evidence: dict[str, Any], moment: Moment
) -> Rollout:
    because = decision.because
    if decision.action == "advance":
        return transitions.advance(conn, rollout, because, evidence, actor=SYSTEM, moment=moment)
    if decision.action == "promote":
        # Its files are not read again: its answers were judged, and a server answers with verified files only.
        return transitions.promote(conn, rollout, because, evidence, actor=SYSTEM, moment=moment)
    if decision.action == "hold":
        return transitions.hold(conn, rollout, because, evidence, actor=SYSTEM, moment=moment)
    state: rollouts.State = "undecided" if decision.undecided else "aborted"
    return transitions.abort(conn, rollout, because, evidence, actor=SYSTEM, moment=moment, state=state)


def _rules(rollout: Rollout, project: Project, standard: Standard) -> RolloutRules:
    reference = standard.reference.performance if standard.reference is not None else None
    return rules_of(
        rollout.settings,
        loss=default_loss(project.model.task),
        champion_loss=reference.loss if reference is not None else None,
    )


def _standard(database: Database, blobs: BlobStore, rollout: Rollout) -> Standard:
    """The champion's standard: what its answers mean, and the loss that margins are shares of."""
    assert rollout.champion is not None  # a first version waits for approvals; it never runs beside anybody
    with database.read() as conn:
        digest = get_version(conn, rollout.model, rollout.champion).digest
    return load_standard(digest, blobs)
