"""The console in Chromium: light and dark, wide and on a phone, with scripts and without."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.browser

MODEL = "bike-demand"
SCREENS = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]

# The contrast of each visible text with what lies behind it, by WCAG 2: the worst ones.
CONTRAST = """() => {
  const parse = c => (c.match(/[\\d.]+/g) || [0, 0, 0]).map(Number);
  const light = ([r, g, b]) => {
    const f = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
  };
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0.99) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode, element = node.parentElement;
    if (!node.textContent.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const ink = light(parse(element instanceof SVGElement ? style.fill : style.color)), paper = light(behind(element));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) found.push(ratio.toFixed(2) + " " + node.textContent.trim().slice(0, 40));
  }
  return found;
}"""


def paths(control: Any) -> list[str]:
    return [
        "/",
        f"/models/{MODEL}",
        f"/models/{MODEL}/versions/1",
        f"/models/{MODEL}/versions/2",
        f"/models/{MODEL}/predictions",
        "/incidents",
        f"/incidents/{control.ids['incident']}",
        "/runs",
        "/audit?verify=true",
        "/models/nothing",
    ]


@pytest.fixture(params=SCREENS, ids=lambda screen: f"{screen[0]}-{screen[1]}")
def screen(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    """An empty page of one colour scheme and width; fails on script errors, refused resources and dialogs."""
    scheme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(15_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on(
        "console",
        lambda said: problems.append(said.text) if said.type == "error" and "404" not in said.text else None,
    )
    yield page
    context.close()
    assert problems == []


def test_every_page_fits_the_screen_and_can_be_read(control: Any, screen: Any):
    for path in paths(control):
        screen.goto(control.url + path)
        overhang = screen.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overhang <= 0, path
        assert screen.evaluate(CONTRAST) == [], path
        assert screen.locator("h1").count() == 1, path
        assert screen.title() != "run", path


def test_one_chart_of_the_right_size_is_shown(control: Any, screen: Any):
    screen.goto(f"{control.url}/models/{MODEL}")
    shown = [chart for chart in screen.locator("svg.chart").all() if chart.is_visible()]
    assert len(shown) == 1
    is_narrow = screen.viewport_size["width"] < 700
    assert ("narrow" in shown[0].get_attribute("class")) == is_narrow
    letters = shown[0].locator("text").first
    assert letters.bounding_box()["height"] > 9


def test_a_person_finds_from_the_overview_to_the_evidence_and_leaves_a_note(control: Any, page: Any):
    page.goto(control.url)
    page.get_by_role("link", name=MODEL).first.click()
    page.get_by_role("link", name="Open incident").click()
    page.get_by_label("Note").fill("seen in the browser")
    page.get_by_role("button", name="Add the note").click()
    note = page.locator(".timeline").get_by_text("seen in the browser")
    note.wait_for()
    assert note.count() == 1
    page.get_by_role("link", name=MODEL).first.click()
    page.get_by_role("link", name="version 1").first.click()
    gates = page.get_by_role("heading", name="Gates")
    gates.wait_for()
    assert gates.is_visible()


def test_a_page_left_open_shows_what_happens_and_keeps_what_was_unfolded(control: Any, page: Any):
    page.goto(f"{control.url}/incidents/{control.ids['incident']}")
    page.locator("#signals summary").first.click()
    page.get_by_label("Note").fill("half a sentence")
    control.ask("POST", f"/api/v1/incidents/{control.ids['incident']}/notes", {"text": "from somewhere else"})
    page.locator(".timeline").get_by_text("from somewhere else").wait_for(timeout=12_000)
    assert page.locator("#signals").get_attribute("open") is not None
    assert page.get_by_label("Note").input_value() == "half a sentence"


def test_without_scripts_everything_can_be_read_and_decided(control: Any, browser: Any):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{control.url}/models/{MODEL}")
    assert page.locator("svg.chart").first.is_visible()
    page.locator("#windows summary").click()
    assert page.get_by_role("cell", name="2012-01-05 00:00").first.is_visible()
    page.goto(f"{control.url}/incidents/{control.ids['incident']}")
    page.locator("textarea[name=text]").fill("written without scripts")
    page.locator("button[type=submit]").click()
    note = page.locator(".timeline").get_by_text("written without scripts")
    note.wait_for()
    assert note.count() == 1
    context.close()


def test_the_keyboard_alone_reaches_content_and_places(control: Any, page: Any):
    page.goto(control.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('href')"))
    assert reached[:5] == ["/", "/", "/incidents", "/runs", "/audit"]
    assert f"/models/{MODEL}" in reached


def test_a_page_of_another_origin_can_neither_change_nor_frame_anything(
    control: Any, page: Any, tmp_path: Any
):
    path = f"/incidents/{control.ids['incident']}"
    foreign = tmp_path / "foreign.html"
    foreign.write_text(
        f'<form id="f" method="post" action="{control.url}{path}/notes"><input name="key" value="x">'
        f'<input name="text" value="forged"></form><iframe src="{control.url}/"></iframe>'
    )
    page.goto(foreign.as_uri())
    time.sleep(0.5)
    framed = [frame for frame in page.frames if frame.url.startswith(control.url)]
    assert all("Models" not in frame.content() for frame in framed)
    page.evaluate("document.getElementById('f').submit()")
    page.wait_for_url(f"{control.url}/**")
    assert "forged" not in control.ask("GET", f"/api/v1{path}").body.decode()
