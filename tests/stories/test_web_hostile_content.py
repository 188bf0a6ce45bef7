"""Texts of people, data and models that try to be markup, script or something unseen: they stay text, on every page."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from flyball_tests_hostile import MODEL, SHORT, TRAP, hostile_paths

from flyball.core.endpoints import list_endpoints
from flyball.web.edge import CONTENT_SECURITY_POLICY

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
LEADING = ("href", "src", "action", "formaction", "hx-get", "xlink:href", "srcdoc", "data", "poster")
LONGEST_PAGE = 2_000_000


class Suspect(HTMLParser):
    """What of a page could run or lead away."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script":
            self.scripts.append(given.get("src"))
        if tag in ("img", "iframe", "object", "embed", "base", "style", "template", "foreignobject"):
            self.found.append(tag)
        for name, value in attrs:
            leads_away = name in LEADING and not re.match(r"(/(?!/)|#main$)", value or "")
            if name.startswith("on") or name == "style" or leads_away:
                self.found.append(f"{tag} {name}={value}")


def read(control: Any, path: str) -> str:
    answer = control.ask("GET", path, headers=BROWSER)
    assert answer.status in (200, 404), (path, answer.body[:300])
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    return answer.body.decode()


def test_on_every_page_hostile_texts_run_nothing_lead_nowhere_and_break_nothing(hostile: Any):
    for path in hostile_paths(hostile.ids):
        page = read(hostile, path)
        suspect = Suspect()
        suspect.feed(page)
        assert suspect.found == [], path
        assert [(source or "").partition("?")[0] for source in suspect.scripts] == ["/static/htmx.min.js"], (
            path
        )
        assert page.lower().count("<script") == 1, path
        assert page.count("</main>") == page.count("</html>") == 1, path
        for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
            ElementTree.fromstring(drawing)
        assert [char for char in page if not char.isprintable() and char not in "\n\t"] == [], path
        assert len(page) < LONGEST_PAGE, path


def test_hostile_texts_are_shown_and_not_left_out(hostile: Any):
    for path in hostile_paths(hostile.ids)[:13]:
        assert html.escape(SHORT) in read(hostile, path).replace("&#39;", "&#x27;"), path
    said = html.unescape(read(hostile, f"/predictions/{hostile.ids['prediction']}"))
    assert "{{7*7}}" in said
    assert "\u202e" in TRAP
    assert "\ufffdgnp.exe" in said


@pytest.mark.parametrize("field", ["note", "deploy"])
def test_what_is_sent_to_the_api_is_shown_as_text(hostile: Any, field: str):
    incident = hostile.ids["incident"]
    if field == "note":
        path, shown = f"/api/v1/incidents/{incident}/notes", f"/incidents/{incident}"
        answer = hostile.ask("POST", path, {"text": f"{TRAP} by note"})
    else:
        path, shown = f"/api/v1/models/{MODEL}/rollout/pause", f"/models/{MODEL}"
        answer = hostile.ask("POST", path, {"why": f"{TRAP} by decision"})
    assert answer.status == 200, answer.body
    page = read(hostile, shown)
    assert page.lower().count("<script") == 1
    assert html.escape(SHORT) in page
    assert hostile.ask("POST", path, {"text": "x" * 10_000, "why": "x" * 10_000}).status == 400


def test_the_api_answers_hostile_texts_as_json_that_no_browser_takes_for_a_page(hostile: Any):
    ids = {"model": MODEL, "ref": "1", "run_id": hostile.ids["run"], "incident_id": hostile.ids["incident"]}
    ids |= {"prediction_id": hostile.ids["prediction"]}
    asked = 0
    for endpoint in list_endpoints("control"):
        if endpoint.method != "GET" or not endpoint.path.startswith("/api/v1/"):
            continue
        path = endpoint.path.format(**ids) + ("?stream=false" if endpoint.path.endswith("/events") else "")
        answer = hostile.ask("GET", path, headers=BROWSER)
        assert answer.status == 200, (path, answer.body[:200])
        assert answer.headers["content-type"].startswith("application/json"), path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        asked += 1
    assert asked > 20


def test_a_log_is_a_file_to_keep_and_never_a_page(hostile: Any):
    answer = hostile.ask("GET", f"/runs/{hostile.ids['run']}/log.txt", headers=BROWSER)
    assert SHORT in answer.body.decode()
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:80", "Origin": "http://evil.example:80"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": None}, 403),
        ({"Origin": "https://127.0.0.1"}, 403),
    ],
)
def test_no_form_of_a_foreign_page_and_no_renamed_host_changes_anything(
    hostile: Any, headers: dict[str, str], status: int
):
    before = hostile.ask("GET", "/api/v1/audit?limit=1").json()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    changes = [endpoint for endpoint in list_endpoints("control") if endpoint.method == "POST"]
    for endpoint in changes:
        path = endpoint.path.format(model=MODEL, incident_id=hostile.ids["incident"], decision="abort")
        if endpoint.path.startswith("/api/"):
            body = {"text": "forged"} if path.endswith("/notes") else {"why": "forged"}
            answer = hostile.ask("POST", path, body, headers)
        else:
            answer = hostile.ask("POST", path, b"key=k&why=forged&text=forged&version=2", form | headers)
        assert answer.status == status, (path, answer.body[:200])
    assert hostile.ask("GET", "/api/v1/audit?limit=1").json() == before
