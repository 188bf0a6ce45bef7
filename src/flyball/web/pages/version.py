"""A version's page: what it came from, what it showed, what was decided about it."""

from __future__ import annotations

from typing import Any

from litestar import Response

from flyball.web.api.parameters import App, InPath
from flyball.web.names import read_ref
from flyball.web.pages.rendering import plain, respond

EVIDENCE_SHOWN = 200


def version_page(flyball: App, model: InPath, ref: InPath) -> Response[str]:
    """One version, by number, digest prefix or alias. Raises ModelNotFound, VersionNotFound."""
    found = plain(flyball.show_version(read_ref(model, ref)))
    version = found["version"]
    summary = flyball.get_model(version["model"])
    evidence = sorted(found["evidence"], key=lambda item: str(item["at"]), reverse=True)
    return respond(
        "version.html",
        place="/",
        version=version,
        aliases=found["aliases"],
        rejection=found["rejection"],
        is_champion=summary.champion == version["number"],
        is_candidate=summary.candidate == version["number"],
        went_first=any(item["facts"].get("verdict") == "first" for item in evidence),
        has_champion=summary.champion is not None,
        metrics=list(measured_metrics(version["metrics"], evidence).items()),
        rows=training_rows(version["lineage"]),
        package=next((e["facts"].get("package") for e in evidence if e["kind"] == "evaluation"), None),
        tests=next((e["facts"].get("tests") for e in evidence if e["kind"] == "tests"), None) or [],
        gates=[gate_line(gate) for gate in found["gates"]],
        evidence=[item for item in evidence if item["kind"] not in ("gate", "tests")][:EVIDENCE_SHOWN],
        lineage=found["lineage"],
        rollouts=found["rollouts"],
        retraining=found["retraining"],
    )


def measured_metrics(metrics: dict[str, Any], evidence: list[dict[str, Any]]) -> dict[str, Any]:
    """A version's metrics, with their intervals where an evaluation among its evidence (newest first) has them."""
    measured = next((e["facts"].get("metrics") for e in evidence if e["kind"] == "evaluation"), None) or {}
    return {name: measured.get(name, value) for name, value in metrics.items()}


def training_rows(lineage: dict[str, Any]) -> str:
    """How many rows made a version, such as `train 210, validation 30, test 60`; nothing when that is unknown."""
    counts = lineage.get("rows")
    if not isinstance(counts, dict):
        return ""
    text = ", ".join(f"{name} {count}" for name, count in counts.items() if name != "source")
    until = lineage.get("trained_until")
    return f"{text}; trained on rows until {str(until)[:16].replace('T', ' ')}" if until else text


def gate_line(gate: dict[str, Any]) -> dict[str, Any]:
    """A gate's verdict as it was recorded: what was asked, the answer, and why."""
    rule = gate.get("rule") if isinstance(gate.get("rule"), dict) else gate
    asked = [
        f"{words} {value}"
        for name, words in (
            ("min", "at least"),
            ("max", "at most"),
            ("versus", "against the"),
            ("max_increase", "up by at most"),
            ("max_decrease", "down by at most"),
            ("max_gap", "gap at most"),
            ("by", "by"),
            ("over", "over"),
            ("confidence", "confidence"),
        )
        if (value := (rule or {}).get(name)) not in (None, "")
    ]
    return {
        "metric": gate.get("metric") or (rule or {}).get("metric", "gate"),
        "asked": ", ".join(asked),
        "outcome": gate.get("outcome", "inconclusive"),
        "because": gate.get("because", ""),
    }
