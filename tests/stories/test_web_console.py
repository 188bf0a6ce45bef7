"""The console as plain HTML: what a person reads and decides without any script, on a real control plane."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import urlencode

import pytest

MODEL = "bike-demand"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def read(control: Any, path: str) -> str:
    """A page's text; fails unless it is a page."""
    answer = control.ask("GET", path, headers=BROWSER)
    assert answer.status == 200, (path, answer.body[:300])
    assert answer.headers["content-type"].startswith("text/html")
    return answer.body.decode()


def words(page: str) -> str:
    """What a page says, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def form_of(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the form that goes to an address."""
    form = page[page.index(f'action="{action}"') :]
    return dict(
        re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form[: form.index("</form>")])
    )


def send(control: Any, action: str, fields: dict[str, str]) -> Any:
    headers = {"Content-Type": "application/x-www-form-urlencoded", **BROWSER}
    return control.ask("POST", action, urlencode(fields).encode(), headers)


def test_the_overview_tells_each_models_health_in_a_sentence(control: Any):
    text = words(read(control, "/"))
    assert "1 model: 1 needs attention" in text
    assert "mae 60 in the window to 2012-03-08; training promised 35." in text
    assert "Open incident since 2012-03-08" in text


def test_a_models_page_has_its_chart_and_the_same_as_a_table(control: Any):
    page = read(control, f"/models/{MODEL}")
    assert page.count('<svg class="chart') == 2
    assert 'aria-label="mae per window per window' not in page
    text = words(page)
    for said in (
        "mae per window",
        "The same as a table (9 windows)",
        "Drift by feature",
        "2012-01-05",
        "Versions",
    ):
        assert said in text
    assert f'href="/incidents/{control.ids["incident"]}"' in page


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (f"/models/{MODEL}/versions/1", "Where it came from"),
        (f"/models/{MODEL}/versions/champion", "36.1 to 40.4"),
        (f"/models/{MODEL}/versions/3", "This version failed a gate"),
        ("/incidents", "Opened (model time)"),
        ("/runs", "No run yet"),
        ("/audit", "Each change of state"),
        ("/audit?verify=true", "The chain holds"),
        (f"/audit?model={MODEL}", f"Audit trail of {MODEL}"),
    ],
)
def test_each_page_says_what_it_is_for(control: Any, path: str, said: str):
    assert said in words(read(control, path))


def test_what_people_and_data_wrote_is_shown_as_text_on_every_page(control: Any):
    for path in (
        "/",
        f"/models/{MODEL}",
        f"/models/{MODEL}/versions/1",
        "/incidents",
        f"/incidents/{control.ids['incident']}",
        "/audit",
    ):
        page = read(control, path)
        assert "<script>document" not in page
        assert "<img" not in page
        assert "49" not in re.findall(r"\{\{7\*7\}\}|49(?=<)", page) or "{{7*7}}" in html.unescape(page)
        assert "{{7*7}}" in html.unescape(page)


def test_a_note_is_added_by_a_plain_form_and_only_once(control: Any):
    path = f"/incidents/{control.ids['incident']}"
    fields = {**form_of(read(control, path), f"{path}/notes"), "text": "the feed was fine"}
    for _ in range(2):
        answer = send(control, f"{path}/notes", fields)
        assert (answer.status, answer.headers["location"]) == (303, path)
    assert words(read(control, path)).count("the feed was fine") == 1


def test_a_candidate_is_deployed_and_aborted_from_its_page(control: Any):
    fields = form_of(read(control, f"/models/{MODEL}/versions/2"), f"/models/{MODEL}/deploy")
    assert fields["version"] == "2"
    assert send(control, f"/models/{MODEL}/deploy", {**fields, "why": "by hand"}).status == 303
    page = read(control, f"/models/{MODEL}")
    assert "The rollout of version 2" in words(page)
    fields = form_of(page, f"/models/{MODEL}/rollout/abort")
    assert send(control, f"/models/{MODEL}/rollout/abort", {**fields, "why": "changed my mind"}).status == 303
    assert "changed my mind" in words(read(control, f"/models/{MODEL}"))


def test_a_version_page_says_how_it_was_rolled_out_or_why_not(control: Any):
    def rollouts(number: int) -> str:
        page = read(control, f"/models/{MODEL}/versions/{number}")
        return words(page[page.index('id="rollouts"') : page.index('id="evidence"')])

    assert "the first version of a model has nothing to be compared with" in rollouts(1)
    assert "what failed a gate or a model test is not rolled out" in rollouts(3)
    assert "flyball deploy" not in rollouts(3)


def test_an_audit_entry_leads_to_what_it_is_about(control: Any):
    page = read(control, "/audit")
    assert f'<a href="/models/{MODEL}/versions/3">version:{MODEL}@3</a>' in page
    assert f'<a href="/incidents/{control.ids["incident"]}">incident:{control.ids["incident"]}</a>' in page
    assert f'<a href="/models/{MODEL}">deployment:{MODEL}</a>' in page


def test_a_form_without_its_reason_is_answered_by_a_page_that_says_so(control: Any):
    answer = send(control, f"/models/{MODEL}/retrain", {"key": "k", "why": ""})
    assert answer.status == 400
    assert "why" in words(answer.body.decode())
    refused = send(control, f"/models/{MODEL}/deploy", {"key": "k3", "why": "x", "version": "3"})
    assert refused.status == 403
    assert "failed its gates" in words(refused.body.decode())


def test_what_is_not_there_is_a_page_with_a_way_back(control: Any):
    answer = control.ask("GET", "/models/nothing", headers=BROWSER)
    assert answer.status == 404
    assert "there is no model 'nothing'" in words(answer.body.decode())
    assert 'href="/"' in answer.body.decode()


def test_assets_are_kept_for_good_and_pages_are_not(control: Any):
    page = control.ask("GET", "/", headers=BROWSER)
    assert page.headers["cache-control"] == "no-store"
    assets = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.body.decode())
    assert len(assets) == 4
    for path in assets:
        answer = control.ask("GET", path)
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]


def test_going_back_is_offered_once_there_is_a_champion_to_go_back_to(control: Any):
    path = f"/models/{MODEL}/rollback"
    assert f'action="{path}"' not in read(control, f"/models/{MODEL}")
    assert control.ask("POST", f"/api/v1/models/{MODEL}/deploy", {"version": 2, "why": "x"}).status == 200
    promoted = control.ask("POST", f"/api/v1/models/{MODEL}/rollout/promote", {"why": "seen enough"})
    assert promoted.status == 200, promoted.body
    fields = form_of(read(control, f"/models/{MODEL}"), path)
    assert send(control, path, {**fields, "why": "second thoughts"}).status == 303
    page = read(control, f"/models/{MODEL}")
    assert "Version 1 of bike-demand is champion" in words(page)
    assert f'action="{path}"' not in page  # version 2 was rejected by that: there is nowhere further to go
    again = control.ask("POST", f"/api/v1/models/{MODEL}/rollback", {"why": "a third thought"})
    assert (again.status, "was rejected" in again.json()["detail"]) == (409, True)


def test_an_empty_home_says_what_to_do_next(empty_control: Any):
    empty_control.start()
    assert "flyball run" in words(read(empty_control, "/"))
    assert "flyball run" in words(read(empty_control, "/runs"))
    assert "No incident" in words(read(empty_control, "/incidents"))
    assert "Nothing was changed yet" in words(read(empty_control, "/audit"))
