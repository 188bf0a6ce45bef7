from __future__ import annotations

from datetime import timedelta

import pytest

from flyball.core.errors import BadInput, Conflict, IncidentNotFound
from flyball.core.values import Actor
from flyball.governance.events import list_events
from flyball.governance.journal import list_entries as list_audit
from flyball.monitoring.incidents import (
    add_entry,
    add_note,
    change_incident,
    find_open_incident,
    get_incident,
    is_held,
    list_entries,
    list_incidents,
    open_incident,
    resolve_incident,
)
from flyball.monitoring.signals import list_signals
from flyball.monitoring.windows import list_windows

MODEL = "bikes"
PERSON = Actor("grace")


def opened(home, at, *, problem="change", hold=False):
    with home.database.write() as conn:
        return open_incident(
            conn,
            model=MODEL,
            problem=problem,
            cause="undetermined",
            title="the error grew",
            hold=hold,
            facts={"since": "2012-03-01T00:00:00Z"},
            at=at,
            now=home.now,
        )


def test_an_incident_opens_and_resolves_with_event_and_audit_entry(loop_home):
    at = loop_home.now - timedelta(days=1)
    incident = opened(loop_home, at)
    with loop_home.database.write() as conn:
        resolve_incident(conn, incident.id, "the loss recovered", at=loop_home.now, now=loop_home.now)
    with loop_home.database.read() as conn:
        found = get_incident(conn, incident.id)
        assert (found.state, found.resolved_at, found.opened_at) == ("resolved", loop_home.now, at)
        kinds = [event.kind for event in list_events(conn, model=MODEL)]
        assert kinds == ["incident.opened", "incident.resolved"]
        assert [entry.why for entry in list_audit(conn, model=MODEL)] == [
            "the error grew",
            "the loss recovered",
        ]
        assert [entry.kind for entry in list_entries(conn, incident.id)] == ["result"]
        assert list_incidents(conn, MODEL, state="open") == []
        assert list_signals(conn, MODEL) == list_windows(conn, MODEL) == []


def test_an_incident_is_resolved_once(quick_loop_home):
    home = quick_loop_home
    incident = opened(home, home.now)
    with home.database.write() as conn:
        resolve_incident(conn, incident.id, "done", at=home.now, now=home.now)
    with pytest.raises(Conflict, match="resolved already"), home.database.write() as conn:
        resolve_incident(conn, incident.id, "done", at=home.now, now=home.now)


def test_a_hold_lasts_until_its_incident_is_resolved(quick_loop_home):
    home = quick_loop_home
    incident = opened(home, home.now, problem="data")
    with home.database.write() as conn:
        assert not is_held(conn, MODEL)
        change_incident(conn, incident.id, facts=incident.facts, cause="broken-data", hold=True)
        assert is_held(conn, MODEL)
        resolve_incident(conn, incident.id, "whole again", at=home.now, now=home.now)
        assert not is_held(conn, MODEL)


def test_the_same_words_stand_in_a_timeline_once(quick_loop_home):
    home = quick_loop_home
    incident = opened(home, home.now)
    with home.database.write() as conn:
        told = [
            add_entry(conn, incident.id, "action", "cooldown", model_time=None, now=home.now, once=True)
            for _ in range(3)
        ]
        add_entry(conn, incident.id, "action", "cooldown", model_time=None, now=home.now)
    assert told == [True, False, False]
    with home.database.read() as conn:
        assert [entry.sequence for entry in list_entries(conn, incident.id)] == [1, 2]


def test_notes_are_a_persons_own_words_and_audited(quick_loop_home):
    home = quick_loop_home
    incident = opened(home, home.now)
    with home.database.write() as conn:
        add_note(conn, incident.id, "  sensor 4 was replaced ", actor=PERSON, now=home.now)
    with home.database.read() as conn:
        (note,) = list_entries(conn, incident.id)
        assert (note.kind, note.text, note.actor) == ("note", "sensor 4 was replaced", "grace")
        assert list_audit(conn, action="incident.noted")[0].why == "sensor 4 was replaced"
    for text in ("   ", "x" * 4001):
        with pytest.raises(BadInput, match="characters"), home.database.write() as conn:
            add_note(conn, incident.id, text, actor=PERSON, now=home.now)


def test_each_problem_has_its_own_incident(quick_loop_home):
    home = quick_loop_home
    first = opened(home, home.now)
    second = opened(home, home.now, problem="data")
    with home.database.read() as conn:
        assert find_open_incident(conn, MODEL, "change").id == first.id
        assert find_open_incident(conn, MODEL, "data").id == second.id
        assert find_open_incident(conn, MODEL, "service") is None


def test_an_unknown_incident_is_said_with_the_command_that_lists_them(quick_loop_home):
    with pytest.raises(IncidentNotFound, match="flyball incidents"), quick_loop_home.database.read() as conn:
        get_incident(conn, "inc_" + "0" * 32)
