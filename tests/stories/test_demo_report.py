"""The demo's report for people: self-contained, every event in it, and nothing in it that a text could run."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "bike_sharing"
HOSTILE = """<script>alert(1)</script><img src=x onerror="alert(2)">'"&"""


def window(day: str, loss: float) -> dict[str, Any]:
    return {"start": f"{day}T00:00:00Z", "loss": loss}


def entry(at: str, kind: str, text: str, told: str | None) -> dict[str, Any]:
    return {"at": at, "kind": kind, "text": text, "told": told}


def report(text: str) -> dict[str, Any]:
    """A report in which everything that comes from outside is `text`."""
    figures = {"served": 47.42, "served_interval": [43.15, 51.42], "retrainings": 7, "promotions": 7}
    return figures | {
        "frozen": 71.88,
        "frozen_interval": [64.96, 79.36],
        "monthly": 38.97,
        "monthly_interval": [35.73, 42.13],
        "monthly_retrainings": 18,
        "gain_interval": [18.48, 31.49],
        "gain": 24.46,
        "shuffled": figures,
        "predictions": {"sent": 13129},
        "lost": 0,
        "fault": {"what": text, "alarm": text, "held": True, "trained": 0},
        "worse_candidate": {"state": text, "because": text},
        "story": [entry(text, text, text, text), entry("2011-07-15", "alarm", f"only in full {text}", None)],
        "series": {
            "windows": [
                window("2011-06-30", 33.9),
                window("2011-07-07", 26.4),
                {"start": text, "loss": 30.0},
            ],
            "events": [{"at": "2011-07-07T00:00:00Z", "kind": "promoted", "text": text}],
        },
        "trace": {
            "replayed": {"identical": True},
            "prediction": {"lineage": [{"what": text, "name": text}, {"what": text, "name": f"{text}@8"}]},
        },
    }


class Elements(HTMLParser):
    """Every element with its attributes, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(module: ModuleType, folder: Path, text: str) -> Elements:
    module.write_report(folder, report(text))
    page = Elements()
    page.feed((folder / "report.html").read_text(encoding="utf-8"))
    page.close()
    return page


def test_no_text_of_a_report_becomes_an_element_or_an_attribute(
    script_of: Callable[[Path], ModuleType], tmp_path: Path
):
    module = script_of(EXAMPLE / "report.py")
    calm, hostile = read(module, tmp_path, "calm text"), read(module, tmp_path, HOSTILE)
    names = [[(tag, [name for name, _ in attrs]) for tag, attrs in page.found] for page in (calm, hostile)]
    assert names[0] == names[1]
    assert {tag for tag, _ in hostile.found}.isdisjoint({"script", "img", "iframe", "link"})
    assert hostile.text.count("<script>alert(1)</script>") == calm.text.count("calm text") > 10


def test_what_is_told_comes_first_and_every_event_can_be_unfolded(
    script_of: Callable[[Path], ModuleType], tmp_path: Path
):
    page = read(script_of(EXAMPLE / "report.py"), tmp_path, "said `temp` and more")
    told, _, full = page.text.partition("All 2 events in their own words")
    assert "only in full" not in told
    assert "only in full" in full
    assert ("code", []) in page.found  # what stands in backticks


@pytest.mark.parametrize(
    ("rough", "step"), [(0.4, 0.5), (1.0, 1.0), (3.1, 5.0), (37.9, 50.0), (60.0, 100.0), (200.0, 200.0)]
)
def test_the_charts_scale_has_round_numbers(
    script_of: Callable[[Path], ModuleType], rough: float, step: float
):
    assert script_of(EXAMPLE / "report.py")._round_step(rough) == pytest.approx(step)
