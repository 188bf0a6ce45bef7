"""The report's annotations as SARIF 2.1.0, for hosts that show findings beside the lines of a change."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import msgspec

from flyball import __version__
from flyball.core.digests import digest_bytes
from flyball.operations.ci.report import Annotation, CiReport
from flyball.operations.ci.shortening import fit

MOST_BYTES = 1_000_000
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def write_sarif(report: CiReport) -> str:
    """The findings as a SARIF log of at most 1 MB; one without results when there are none, which closes old ones."""
    return fit(report, _log, MOST_BYTES)


def _log(report: CiReport) -> str:
    rules = list(dict.fromkeys(_rule(one) for one in report.annotations))
    run = {
        "tool": {
            "driver": {
                "name": "Flyball",
                "version": __version__,
                "rules": [
                    {"id": rule, "shortDescription": {"text": f"flyball ci: {rule}"}} for rule in rules
                ],
            }
        },
        # Hosts keep the findings of each category apart: two models of one repository don't close each other's.
        "automationDetails": {"id": f"flyball-ci/{report.model}/"},
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, rules) for one in report.annotations if _uri(one.path)],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(log), indent=1).decode() + "\n"


def _result(one: Annotation, rules: list[str]) -> dict[str, Any]:
    line = max(1, one.line)
    identity = f"{_rule(one)}\n{one.path}\n{re.sub(r'[0-9.,+-]+', '0', one.message)}"
    return {
        "ruleId": _rule(one),
        "ruleIndex": rules.index(_rule(one)),
        "level": one.level,
        "message": {"text": one.message or _rule(one)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(one.path), "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": line},
                }
            }
        ],
        # Not of the line or the numbers: a finding that moved or was measured anew is the same finding.
        "partialFingerprints": {"flyball/v1": digest_bytes(identity.encode()).removeprefix("sha256:")[:32]},
    }


def _rule(one: Annotation) -> str:
    return re.sub(r"[^A-Za-z0-9._/-]+", "-", one.rule) or "finding"


def _uri(path: str) -> str:
    """A path below the repository as a relative reference; nothing for one that leads out of it."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or ".." in parts or path.startswith("/"):
        return ""
    return "/".join(quote(part, safe="-._~") for part in parts)
