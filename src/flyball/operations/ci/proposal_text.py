"""What a change request for a retrained candidate says: why, on what, how it did, what merging does, how to say no."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flyball.core.clock import isoformat
from flyball.core.values import Interval
from flyball.operations.ci.contents import sections
from flyball.operations.ci.figures import number, value_text
from flyball.operations.ci.findings import metric_lines
from flyball.operations.ci.markdown import MOST_COMMENT_BYTES, escape, write_section
from flyball.operations.ci.report import CiReport, Compared
from flyball.operations.ci.shortening import STEPS, cut_text, shorten
from flyball.operations.planning.candidates import Candidate
from flyball.operations.planning.files import told_environment

_MOST_SETTINGS = 12


def write_title(candidate: Candidate) -> str:
    """The request in one line: model, version, digest, where to."""
    version, where = candidate.waiting.version, told_environment(candidate.asked.environment)
    return f"{version.model}: version {version.number} ({version.digest[:19]}…) to {where}, retrained"


def write_word(candidate: Candidate) -> str:
    """What is said in the older request that this one replaces."""
    version = candidate.waiting.version
    return (
        f"Closed by `flyball ci propose`: version {version.number} (`{version.digest[:19]}…`) was retrained since and "
        "is proposed instead."
    )


def write_body(candidate: Candidate) -> str:
    """The request's text as Markdown, in which whatever others wrote is text and never markup; below hosts' limits."""
    text = ""
    for rows, characters in STEPS:
        text = _write(candidate, rows, characters)
        if len(text.encode()) <= MOST_COMMENT_BYTES:
            break
    return text


def _write(candidate: Candidate, rows: int, characters: int) -> str:
    def listed(sentences: Iterator[str]) -> str:
        return "\n".join(f"- {escape(cut_text(sentence, characters))}" for sentence in sentences)

    parts = [
        _summary(candidate),
        "### Why it was retrained",
        listed(_reasons(candidate)),
        "### What it was trained on",
        listed(_rows(candidate, rows)),
        *_measured(candidate, rows, characters),
        "### What merging does",
        listed(_consequences(candidate)),
        "### How to say no",
        "Close this request. It is not opened again for this version; the next retraining that passes its gates gets "
        "a request of its own.",
    ]
    return "\n\n".join(parts) + "\n"


def _summary(candidate: Candidate) -> str:
    waiting, where = candidate.waiting, told_environment(candidate.asked.environment)
    rows = [
        (f"in service in {where}", waiting.champion),
        ("proposed", waiting.version),
    ]
    table = ["| | version | package |", "|---|---:|---|"]
    table += [f"| {escape(what)} | {one.number} | `{one.digest}` |" for what, one in rows]
    return (
        f"**{escape(waiting.version.model)}** was retrained and passed its gates. `[retrain] deliver` leaves it to "
        "people whether it is rolled out.\n\n" + "\n".join(table)
    )


def _reasons(candidate: Candidate) -> Iterator[str]:
    waiting = candidate.waiting
    decided = isoformat(waiting.retraining.decided_at)[:16]
    yield f"Decided: {waiting.retraining.because} ({decided}Z on the model's clock)"
    if waiting.signal is not None:
        yield f"Signal: {waiting.signal.sentence}"
        yield f"Diagnosis: {waiting.signal.cause}"
    if (incident := waiting.incident) is not None:
        resolved = (
            "" if incident.resolved_at is None else f", resolved {isoformat(incident.resolved_at)[:10]}"
        )
        opened = isoformat(incident.opened_at)[:10]
        yield f"Incident: {incident.title} (`{incident.id}`, open since {opened}{resolved})"
    if waiting.version.run_id is not None:
        yield f"Run: `{waiting.version.run_id}`, by {waiting.version.author}"


def _rows(candidate: Candidate, most_notes: int) -> Iterator[str]:
    facts, lineage = candidate.waiting.retraining.data_choice, candidate.waiting.version.lineage
    if rows := facts.get("rows"):
        span = f", from {rows['from'][:10]} to {rows['until'][:10]}" if rows["from"] and rows["until"] else ""
        yield (
            f"Known by then: {number(rows['rows'])} rows{span}: {number(rows['source_rows'])} of the source, "
            f"{number(rows['logged_rows'])} logged with their outcomes"
        )
    if because := (facts.get("choice") or {}).get("because"):
        yield f"Chosen: {because}"
    if lineage.get("trained_from") and lineage.get("trained_until"):
        yield f"Trained: from {lineage['trained_from'][:10]} to {lineage['trained_until'][:10]}"
    for note in ((facts.get("rows") or {}).get("notes") or [])[:most_notes]:
        yield f"Note: {note}"
    if not facts.get("rows") and not lineage.get("trained_from"):
        yield "What is known of its rows: nothing"


def _measured(candidate: Candidate, rows: int, characters: int) -> Iterator[str]:
    """Gates and metrics, against the champion, as a check of a change shows them."""
    waiting = candidate.waiting
    evaluation, comparison = waiting.evaluation, waiting.evaluation.get("comparison") or {}
    report = CiReport(
        model=waiting.version.model,
        outcome="pass",
        because=[],
        what_to_do="",
        champion=Compared(
            name="champion",
            number=waiting.champion.number,
            digest=waiting.champion.digest,
            rows=comparison.get("rows", 0),
        ),
        gates=waiting.gates,
        # Slices would name values of columns; the gates by group are there, with what may be said of them.
        metrics=metric_lines(
            {"metrics": evaluation.get("metrics") or {}, "slices": {}}, _contrasts(comparison), ()
        ),
    )
    for section in sections(shorten(report, rows=rows, characters=characters)):
        yield from write_section(section, {})


def _contrasts(comparison: dict[str, Any]) -> dict[str, Any]:
    """The paired difference that the run measured, in the form of a report's."""
    import msgspec

    from flyball.judge.gates.labels import label
    from flyball.judge.metrics.measure import Paired

    if not comparison.get("loss"):
        return {}
    loss = msgspec.convert(comparison["loss"], Paired)
    interval: Interval | None = loss.difference
    found = {
        "metric": loss.metric,
        "column": "",
        "level": "",
        "estimate": loss.estimate,
        "interval": None if interval is None else {"low": interval.low, "high": interval.high},
        "label": label(loss),
    }
    return {"champion": {"differences": [found]}}


def _consequences(candidate: Candidate) -> Iterator[str]:
    change = candidate.change
    yield f"`flyball apply {candidate.asked.file}` deploys exactly this package; nothing is trained again."
    number_now = candidate.waiting.champion.number
    yield f"There it is {change.because}; version {number_now} is champion until it is promoted."
    if candidate.approvals:
        yield f"Its rollout waits for {candidate.approvals} approval(s) by `flyball approve`; this request is none."
    for setting in change.settings[:_MOST_SETTINGS]:
        yield f"Setting {setting.key}: {value_text(setting.old)} → {value_text(setting.new)}"
    if len(change.settings) > _MOST_SETTINGS:
        yield f"and {len(change.settings) - _MOST_SETTINGS} more settings"
    yield "A revert, applied, takes it back."
