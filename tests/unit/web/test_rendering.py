"""Pages: how values are written, and that no value can become markup."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from flyball.web.pages.errors import error_page
from flyball.web.pages.rendering import (
    asset,
    make_visible,
    render,
    static_files,
    write_brief,
    write_interval,
    write_moment,
    write_value,
)
from flyball.web.pages.version import gate_line
from flyball.web.problems import Problem

AT = "2012-05-03T00:00:00Z"
DIGEST = "sha256:" + "0f" * 32
OPENERS = [
    "<script>",
    "<img src=x onerror=",
    "<svg onload=",
    '"><a href=javascript:',
    "' onmouseover='",
    "</textarea>",
    "</title>",
    "{{",
    "{%",
    "<!--",
    "&lt;script&gt;",
    "javascript:",
    "//evil.example",
    "<iframe srcdoc=",
    "]]>",
]
CLOSERS = [
    "alert(1)",
    "</script>",
    "-->",
    "//",
    "\x00",
    "\u2028",
    "`${1}`",
    "%3Cscript%3E",
    "7*7}}",
    "'\"",
    ">",
    "\n<b>",
]


def payloads(count: int = 200) -> list[str]:
    pairs = [opener + closer for opener, closer in itertools.product(OPENERS, CLOSERS)]
    pairs += [f"{a}{b}{a}" for a, b in itertools.product(OPENERS[:6], CLOSERS[:6])]
    return random.Random(7).sample(pairs, count)


class Structure(HTMLParser):
    """Tags with the names of their attributes, and the values of those that lead somewhere or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]


def structure(page: str) -> Structure:
    parser = Structure()
    parser.feed(page)
    return parser


def incident(text: str) -> dict[str, Any]:
    signal = {
        "at": AT,
        "kind": text,
        "sentence": text,
        "cause": text,
        "facts": {text: text},
        "statistic": 1.4,
        "threshold": 1.2,
        "p_value": None,
    }
    return {
        "place": "/incidents",
        "here": "/incidents/inc_1",
        "incident": {
            "id": "inc_1",
            "model": "bike",
            "problem": text,
            "title": text,
            "state": text,
            "hold": True,
            "cause": text,
            "opened_at": AT,
            "resolved_at": None,
            "facts": {text: [text]},
        },
        "entries": [{"kind": "note", "text": text, "actor": text, "model_time": AT, "at": AT, "folded": []}],
        "signals": [signal],
    }


def version(text: str) -> dict[str, Any]:
    return {
        "place": "/",
        "version": {
            "model": "bike",
            "number": 3,
            "state": text,
            "why": text,
            "author": text,
            "created_at": AT,
            "params": {text: text},
            "lineage": {text: text},
            "digest": DIGEST,
        },
        "aliases": [text],
        "is_champion": False,
        "is_candidate": False,
        "went_first": False,
        "has_champion": True,
        "metrics": [(text, {"value": 1.0, "row_count": 3})],
        "gates": [gate_line({"metric": text, "outcome": text, "because": text, "by": text})],
        "rejection": text,
        "tests": [
            {"name": text, "outcome": text, "because": text, "file": text, "line": 3, "rows": [{text: text}]}
        ],
        "evidence": [{"at": AT, "kind": text, "summary": text, "facts": {text: text}, "actor": text}],
        "lineage": [
            {"what": text, "name": text, "link": text},
            {"what": "run", "name": text, "link": "/runs/run_1"},
        ],
        "rollouts": [],
        "rows": text,
        "package": {"package_mb": text, "latency_p50_ms": 1.0, "latency_p99_ms": 2.0},
        "retraining": {
            "because": text,
            "result": text,
            "decided_at": AT,
            "rows_until": AT,
            "incident_id": None,
            "data_choice": {text: 1},
        },
    }


def prediction(text: str) -> dict[str, Any]:
    answer = {
        "id": "prd_1",
        "at": AT,
        "role": text,
        "version": 3,
        "asked": 4,
        "prediction": text,
        "scores": [0.1],
        "error": text,
        "flags": [text],
        "latency_ms": 0.3,
        "entity": text,
        "outcome": text,
        "known_at": AT,
        "difference": None,
    }
    return {
        "place": "/",
        "found": {"id": "prd_1", "model": "bike", "request_id": text, "revision": 2, "received_at": AT},
        "answer": answer,
        "shadows": [answer],
        "inputs": [(text, text), ("b", {text: text})],
        "lineage": [{"what": "data", "name": text, "link": None}],
    }


def audit(text: str) -> dict[str, Any]:
    entry = {
        "number": 1,
        "at": AT,
        "actor": {"name": text},
        "action": text,
        "subject": text,
        "link": "",
        "why": text,
        "facts": {text: text},
    }
    return {
        "place": "/audit",
        "entries": [entry],
        "model": "",
        "next": None,
        "verification": {"ok": False, "bad_number": 1, "problem": text},
    }


def run(text: str) -> dict[str, Any]:
    step = {
        "name": text,
        "state": text,
        "seconds": 1.0,
        "cached": False,
        "attempts": 2,
        "error": {"message": text},
    }
    return {
        "place": "/runs",
        "here": "/runs/run_1",
        "run": {
            "id": "run_1",
            "model": "bike",
            "state": text,
            "version": 3,
            "started_at": AT,
            "seconds": 3.0,
            "actor": text,
            "why": text,
            "cached": False,
            "error": {"message": text},
        },
        "steps": [step],
        "lines": [text, text],
        "left_out": 0,
    }


PAGES = {
    "incident.html": incident,
    "version.html": version,
    "prediction.html": prediction,
    "audit.html": audit,
    "run.html": run,
}


@pytest.mark.parametrize("template", PAGES)
def test_two_hundred_payloads_in_every_text_add_no_tag_no_attribute_and_no_link(template: str):
    plain = structure(render(template, **PAGES[template]("harmless")))
    for payload in payloads():
        hostile = structure(render(template, **PAGES[template](payload)))
        assert hostile.tags == plain.tags, payload
        assert [link for link in hostile.links if not link.startswith("/") and link != "#main"] == [], payload


def test_an_error_page_shows_a_hostile_detail_as_text():
    for payload in payloads():
        page = structure(error_page(Problem(404, "not_found", payload), payload))
        assert page.tags == structure(error_page(Problem(404, "not_found", "x"), "y")).tags


def test_no_page_has_inline_scripts_styles_or_handlers():
    for template, values in PAGES.items():
        found = structure(render(template, **values("x")))
        assert all("style" not in names for _, names in found.tags)
        assert all(not name.startswith("on") for _, names in found.tags for name in names)
        assert [tag for tag, names in found.tags if tag == "script" and "src" not in names] == []
        assert "style" not in [tag for tag, _ in found.tags]


def test_values_are_written_shortly_and_never_without_end():
    assert write_value(None) == "–"
    assert write_value(True) == "yes"
    assert write_value(38.24612) == "38.25"
    assert write_value({"a": [1]}) == '{"a":[1]}'
    assert len(write_value("x" * 10_000)) == 2001
    assert write_value("a\x1b[31mb") == "a\ufffd[31mb"


def test_what_stands_beside_others_is_written_briefly():
    assert write_brief("x" * 500) == "x" * 240 + "…"
    assert write_brief("x" * 500, 60) == "x" * 60 + "…"


def test_a_former_first_champion_is_not_said_to_have_never_been_rolled_out():
    assert "Not rolled out yet" in render("version.html", **version("x"))
    assert "Not rolled out yet" not in render("version.html", **version("x") | {"went_first": True})


def test_characters_that_cannot_be_seen_are_marked_in_every_value_of_a_page():
    page = render("incident.html", **incident("a\u202egnp.exe\u200b\x07"))
    assert "a\ufffdgnp.exe\ufffd\ufffd" in page
    assert not [char for char in page if not char.isprintable() and char not in "\n\t"]
    assert make_visible(["\u202e"]) == ["\u202e"]


def test_a_moment_is_written_in_utc_with_its_exact_time_beside():
    text = write_moment(datetime(2012, 5, 3, 7, 30, 59, tzinfo=UTC))
    assert (
        text
        == '<time datetime="2012-05-03T07:30:59Z" title="2012-05-03 07:30:59 UTC">2012-05-03 07:30</time>'
    )
    assert write_moment("2012-05-03T09:30:59+02:00") == text
    assert write_moment(None) == "–"
    assert write_moment("<b>") == "&lt;b&gt;"


def test_an_interval_is_written_only_where_there_is_one():
    assert write_interval({"value": 1, "interval": {"low": 36.1, "high": 40.4}}) == "36.1 to 40.4"
    assert write_interval({"value": 1, "interval": None}) == ""
    assert write_interval(3.0) == ""


def test_a_gate_tells_what_was_asked():
    line = gate_line(
        {"metric": "mae", "versus": "champion", "max_increase": 4, "outcome": "pass", "because": "so"}
    )
    assert line["asked"] == "against the champion, up by at most 4"


def test_every_vendored_asset_comes_with_its_licence():
    names = set(static_files())
    for library in ("pico", "htmx"):
        assert f"{library}.LICENSE.txt" in names
        assert asset(next(n for n in names if n.startswith(library + ".min"))).startswith("/static/")
