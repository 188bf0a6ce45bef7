"""Hostile texts in Chromium: no dialog, no script but ours, nothing the policy had to stop, no page too wide."""

from __future__ import annotations

from typing import Any

import pytest
from flyball_tests_hostile import hostile_paths

pytestmark = pytest.mark.browser

# Every element that runs or loads something, and every link that leads out of this console.
STRANGERS = """() => [...document.querySelectorAll('script:not([src^="/static/"]), img, iframe, object, embed')]
  .map(found => found.outerHTML)
  .concat([...document.querySelectorAll('[href], [action]')]
    .map(found => new URL(found.getAttribute('href') ?? found.getAttribute('action'), location).href)
    .filter(address => !address.startsWith(location.origin + '/')))"""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_nothing_of_a_hostile_text_runs_or_breaks_a_page(hostile: Any, browser: Any, scheme: str, width: int):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(15_000)
    problems: list[str] = []
    page.on("dialog", lambda dialog: (problems.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    for path in hostile_paths(hostile.ids):
        page.goto(hostile.url + path)
        for details in page.locator("details:not([open]) > summary").all():
            if details.is_visible():
                details.click()
        assert page.evaluate(STRANGERS) == [], path
        overhang = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overhang <= 0, path
        assert page.locator("h1").count() == 1, path
    context.close()
    assert [said for said in problems if "404" not in said] == []
