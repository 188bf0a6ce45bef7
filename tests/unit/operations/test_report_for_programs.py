"""The report of a check of a change for programs: JSON, JUnit XML and SARIF, within their schemas whatever is in it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import Any

import jsonschema_rs
import msgspec
from flyball_tests_ci_reports import TRAP

from flyball.operations.ci.forms import write_json
from flyball.operations.ci.junit import write_junit
from flyball.operations.ci.report import Annotation, CiReport
from flyball.operations.ci.sarif import write_sarif

# Of the SARIF 2.1.0 schema of OASIS, the objects that are written here, with all their rules and nothing besides.
MESSAGE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"text": {"type": "string"}, "id": {"type": "string"}},
    "anyOf": [{"required": ["text"]}, {"required": ["id"]}],
}
LOCATION = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "physicalLocation": {
            "type": "object",
            "additionalProperties": False,
            "required": ["artifactLocation"],
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "uri": {"type": "string", "format": "uri-reference"},
                        "uriBaseId": {"type": "string"},
                    },
                },
                "region": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"startLine": {"type": "integer", "minimum": 1}},
                },
            },
        }
    },
}
RESULT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["message"],
    "properties": {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": -1},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "message": MESSAGE,
        "locations": {"type": "array", "items": LOCATION},
        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
DRIVER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "rules": {
            "type": "array",
            "uniqueItems": True,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["id"],
                "properties": {
                    "id": {"type": "string"},
                    "shortDescription": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["text"],
                        "properties": {"text": {"type": "string"}},
                    },
                },
            },
        },
    },
}
SARIF = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"enum": ["2.1.0"]},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["tool"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["driver"],
                        "properties": {"driver": DRIVER},
                    },
                    "automationDetails": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {"id": {"type": "string"}},
                    },
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "results": {"type": "array", "items": RESULT},
                },
            },
        },
    },
}
# The attributes that junit-10.xsd of Jenkins' xUnit plugin knows; those it requires first.
JUNIT = {
    "testsuites": ((), ("name", "time", "tests", "failures", "errors")),
    "testsuite": (
        ("name", "tests", "failures", "errors"),
        ("time", "skipped", "timestamp", "hostname", "id", "file"),
    ),
    "testcase": (("name",), ("time", "classname", "group")),
    "failure": ((), ("type", "message")),
    "error": ((), ("type", "message")),
    "skipped": ((), ("type", "message")),
}
JUNIT_CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"failure", "error", "skipped"},
}


def check_junit(text: str) -> ET.Element:
    """The root of a document that keeps to the schema."""
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    for element in root.iter():
        required, known = JUNIT[element.tag]
        assert set(required) <= set(element.attrib) <= {*required, *known}, element.attrib
        assert {child.tag for child in element} <= JUNIT_CHILDREN.get(element.tag, set())
        if "time" in element.attrib:
            assert re.fullmatch(r"\d+\.\d{3}", element.attrib["time"])
    return root


def test_json_holds_the_whole_report(ci_sample: CiReport):
    again = msgspec.json.decode(write_json(ci_sample), type=CiReport)
    # Lists are put in the order of what tells most; nothing else is changed.
    plain, given = msgspec.to_builtins(again), msgspec.to_builtins(ci_sample)
    for side in (plain, given):
        side["lists"] = [
            sorted(map(repr, side.pop(name))) for name in ("metrics", "gates", "tests", "importances")
        ]
        side["columns"] = sorted(map(repr, side["data"].pop("columns"))) if side["data"] else []
    assert plain == given
    assert again.exit_code == ci_sample.exit_code


def test_junit_has_every_stage_gate_and_test_with_its_verdict(ci_reports: Any):
    root = check_junit(write_junit(ci_reports.bad()))
    assert root.attrib["failures"] == "4"
    cases = {case.attrib["name"]: [child.tag for child in case] for case in root.iter("testcase")}
    assert cases["pay_0 not lower"] == ["failure"] and cases["roc_auc (gate 1)"] == ["failure"]
    assert cases["checks"] == [] and len(cases) == 10
    undecided = check_junit(write_junit(ci_reports.inconclusive()))
    skipped = [element.attrib["message"] for element in undecided.iter("skipped")]
    assert "not enough evidence: -0.021 to +0.019 spans 0.005" in skipped
    broken = check_junit(write_junit(ci_reports.broken()))
    assert [one.attrib["message"] for one in broken.iter("error")] == [ci_reports.broken().because[0]]


def test_junit_and_sarif_keep_to_their_schemas_whatever_is_in_them(ci_reports: Any, ci_sample: CiReport):
    for report in (ci_sample, ci_reports.hostile(TRAP, 30), ci_reports.hostile("", 2)):
        root = check_junit(write_junit(report))
        for suite in root:
            assert int(suite.attrib["tests"]) == len(suite)
        jsonschema_rs.Draft7Validator(SARIF, validate_formats=True).validate(json.loads(write_sarif(report)))


def test_sarif_points_at_the_lines_of_annotations(ci_reports: Any):
    run = json.loads(write_sarif(ci_reports.bad()))["runs"][0]
    found = []
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]
        found.append(
            (
                result["ruleId"],
                place["artifactLocation"]["uri"],
                place["region"]["startLine"],
                result["level"],
            )
        )
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert found == [
        ("gate/roc_auc", "flyball.toml", 24, "error"),
        ("test/direction", "flyball.toml", 31, "error"),
    ]
    assert run["automationDetails"]["id"] == "flyball-ci/credit-default/"
    assert json.loads(write_sarif(ci_reports.good()))["runs"][0]["results"] == []


def test_a_finding_keeps_its_fingerprint_when_it_moves_and_never_points_outside_the_repository(
    ci_reports: Any,
):
    def results(*annotations: Annotation) -> Any:
        report = msgspec.structs.replace(ci_reports.good(), annotations=list(annotations))
        return json.loads(write_sarif(report))["runs"][0]["results"]

    first = Annotation(path="a b/flyball.toml", line=3, level="error", rule="gate/x", message="0.012 worse")
    moved = msgspec.structs.replace(first, line=9, message="0.015 worse")
    one, other = results(first, moved)
    assert one["partialFingerprints"] == other["partialFingerprints"]
    assert one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20b/flyball.toml"
    outside = [msgspec.structs.replace(first, path=path) for path in ("/etc/passwd", "../x", "a/../../x", "")]
    assert results(*outside) == []
