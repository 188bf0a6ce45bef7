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
        is_champion=summary.champion == version["number"],
        is_candidate=summary.candidate == version["number"],
        has_champion=summary.champion is not None,
        metrics=sorted(version["metrics"].items()),
        gates=[gate_line(gate) for gate in found["gates"]],
        evidence=[item for item in evidence if item["kind"] != "gate"][:EVIDENCE_SHOWN],
        lineage=found["lineage"],
        rollouts=found["rollouts"],
        retraining=found["retraining"],
    )


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
