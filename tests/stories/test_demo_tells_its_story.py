"""The demo's story: each incident is told once and in words, later alarms only where they say something new."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "bike_sharing"
TITLE = "Covariate shift since 2011-08-18: harder inputs, most changed: mnth."


@pytest.fixture
def telling(script_of: Callable[[Path], ModuleType]) -> ModuleType:
    return script_of(EXAMPLE / "telling.py")


def event(name: str, day: str, /, **facts: Any) -> dict[str, Any]:
    at = f"{day}T00:00:00Z"
    own = {"signal.raised": {"at": at}, "candidate.ready": {"decided_at": at}}.get(name, {"model_time": at})
    return {
        "kind": name,
        "subject": "it",
        "facts": {"model": "bikes", "incident_id": "inc_1", **own, **facts},
    }


def opened(day: str, title: str = TITLE, cause: str = "covariate-shift", **facts: Any) -> dict[str, Any]:
    found = {"title": title, "because": title, "cause": cause, "hold": False} | facts
    return event("incident.opened", day, **found)


def alarm(
    day: str, sentence: str = TITLE, cause: str = "covariate-shift", *, confirmed: bool = False, **facts: Any
) -> dict[str, Any]:
    found = {"sentence": sentence, "cause": cause, "confirmed": confirmed, "kind": "performance"} | facts
    return event("signal.raised", day, **found)


def told(telling: ModuleType, *batches: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Day, kind and line of what is told of events that come in batches."""
    teller = telling.Telling()
    entries = [entry for events in batches for entry in teller.tell(events)]
    assert len(entries) == sum(len(events) for events in batches)  # told or not, none is lost
    return [(entry["at"], entry["kind"], entry["told"]) for entry in entries if entry["told"] is not None]


def test_an_incident_and_the_alarm_that_opened_it_are_one_line_with_how_sure_it_is(telling: ModuleType):
    assert told(telling, [opened("2011-08-26"), alarm("2011-08-26")]) == [
        ("2011-08-26", "incident", f"{TITLE} Not confirmed yet.")
    ]
    assert told(telling, [opened("2011-08-26"), alarm("2011-08-26", confirmed=True)]) == [
        ("2011-08-26", "incident", f"{TITLE} Confirmed.")
    ]


def test_later_alarms_tell_a_new_cause_and_the_first_confirmation_and_nothing_twice(telling: ModuleType):
    drift = "Concept drift since 2011-08-18: answers are too high by 23.6."
    lines = told(
        telling,
        [opened("2011-08-26"), alarm("2011-08-26")],
        [alarm("2011-09-02", confirmed=True)],
        [alarm("2011-09-09", drift, "concept-drift", confirmed=True)],
        [alarm("2011-09-16", confirmed=True), alarm("2011-09-23", drift, "concept-drift", confirmed=True)],
    )
    assert lines[1:] == [
        ("2011-09-02", "alarm", "the incident of 2011-08-26 is confirmed by another window"),
        ("2011-09-09", "alarm", drift),
    ]


def test_of_two_alarms_on_one_window_the_one_that_knows_the_outcomes_speaks(telling: ModuleType):
    vague, exact = (
        "the answers are distributed differently",
        "Concept drift since 2012-04-12: too low by 14.7.",
    )
    both = [
        opened("2012-04-20", vague, "concept-drift"),
        alarm("2012-04-20", vague, "concept-drift", kind="prediction", confirmed=True),
        alarm("2012-04-20", exact, "concept-drift"),
    ]
    assert [line for *_, line in told(telling, both)] == [f"{exact} Not confirmed yet."]
    only = [opened("2012-04-20", vague), alarm("2012-04-20", vague, kind="prediction", confirmed=True)]
    assert [line for *_, line in told(telling, only)] == [
        "The answers are distributed differently. No outcome confirms it yet."
    ]


def test_broken_data_say_that_nothing_is_trained_on_them(telling: ModuleType):
    title = "29% of `temp` lies far outside 0.02 to 1"
    first = [opened("2013-01-04", title, "broken-data", hold=True)]
    first.append(alarm("2013-01-04", title, "broken-data", confirmed=True, kind="contract"))
    assert [line for *_, line in told(telling, first)] == [
        f"{title}. Confirmed. Nothing is trained while this lasts."
    ]


def test_a_resolution_names_the_incident_by_its_day_and_the_metric_that_recovered(telling: ModuleType):
    because = "the loss recovered: 24.1 in 168 rows, was 26.36 when this began"
    over = event("incident.resolved", "2011-10-07", title=TITLE, cause="covariate-shift", because=because)
    expected = "the mean absolute error recovered: 24.1 in 168 rows, was 26.36 when this began"
    assert told(telling, [opened("2011-08-26"), alarm("2011-08-26")], [over])[1:] == [
        ("2011-10-07", "resolved", f"the incident of 2011-08-26 is over: {expected}")
    ]
    assert told(telling, [over]) == [("2011-10-07", "resolved", f"{TITLE[:-1]} is over: {expected}")]


def test_a_candidate_comes_before_its_rollout_and_its_promotion_tells_the_figures(telling: ModuleType):
    guard = {"metric": "mae", "estimate": -2.1287, "count": 10, "margin": 4.0}
    versions = {"version": 2, "champion": 1}
    because = "shown not worse: mae -2.13 over 10 days"
    lines = told(
        telling,
        [
            event("candidate.ready", "2011-09-09", version=2, because="retrained: a confirmed signal"),
            event(
                "rollout.started", "2011-09-09", because="version 2 beside version 1", share=0.0, **versions
            ),
            event("rollout.promoted", "2011-09-20", because=because, guards=[guard], **versions),
            event("rollout.promoted", "2011-09-21", because="a person's wish", guards=[], **versions),
        ],
    )
    assert [kind for _, kind, _ in lines] == ["candidate", "rollout", "promoted", "promoted"]
    assert lines[0][2] == "version 2 was trained and passed its gates (a confirmed signal)"
    assert lines[1][2] == "version 2 beside version 1: it answers too, unseen, and is compared"
    assert lines[2][2] == (
        "version 2 replaces version 1: its mean absolute error was 2.13 lower, on average of 10 days; "
        "up to 4 higher was allowed"
    )
    assert lines[3][2] == "version 2 replaces version 1: a person's wish"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_lines_are_wrapped_and_the_last_one_is_the_date(
    script_of: Callable[[Path], ModuleType], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    narrator = script_of(EXAMPLE / "narrator.py")
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        screen = narrator.Screen(stream)
        screen.show_progress("  2011-08-26  1344 predictions so far")
        screen.say("  2011-08-26  incident   " + 12 * "a word or two ", indent=25)
        screen.show_progress("  2011-08-27  1368 predictions so far")
    first, *lines = terminal.getvalue().split("\n")
    assert first.startswith(
        "\r\033[K  2011-08-26  1344 predictions so far\r\033[K  2011-08-26  incident   a word"
    )
    assert lines[-1] == "\r\033[K  2011-08-27  1368 predictions so far"
    wrapped = [first.rpartition("\033[K")[2], *lines[:-1]]
    assert len(wrapped) == 3
    assert all(len(line) <= 80 for line in wrapped)
    assert all(line[:26] == 25 * " " + "a" for line in wrapped[1:])
    # In a file each event is one line, and there is no progress.
    assert file.getvalue() == "  2011-08-26  incident   " + 12 * "a word or two " + "\n"
