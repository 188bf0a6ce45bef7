from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from flyball.core.clock import FixedClock, isoformat
from flyball.core.digests import digest_bytes
from flyball.core.errors import Conflict, RolloutRunning
from flyball.core.values import Actor
from flyball.delivery import candidates, control
from flyball.delivery.approvals import subject_of
from flyball.delivery.rollouts import find_unfinished, list_rollouts, save_new
from flyball.delivery.start import Origin
from flyball.delivery.watching import note_watch_alarm
from flyball.governance.approvals import approve, reject
from flyball.governance.events import list_events
from flyball.governance.journal import Change, record
from flyball.monitoring.incidents import list_entries
from flyball.monitoring.signals import Signal, signal_id
from flyball.registry.bundle import read_manifest
from flyball.registry.evidence import list_evidence
from flyball.registry.routes import current
from flyball.registry.versions import get_version

MODEL = "bikes"
DECIDED = datetime(2012, 3, 9, tzinfo=UTC)


def ready(home, number: int, **facts) -> None:
    told = {
        "model": MODEL,
        "version": number,
        "retraining_id": "rtn_" + digest_bytes(str(number).encode())[7:39],
        "decided_at": isoformat(DECIDED),
        "incident_id": None,
        "approvals": 0,
        "because": "retrained: a confirmed performance signal",
        **facts,
    }
    change = Change(
        actor=Actor("policy", "automation"),
        action="candidate.ready",
        subject="x",
        facts=told,
        event="candidate.ready",
    )
    with home.database.write() as conn:
        record(conn, change, home.now)


def consume(home) -> int:
    return candidates.consume(home.database, home.blobs, FixedClock(home.now))


def test_a_ready_candidate_is_rolled_out_once_on_the_clock_of_its_decision(loop_home):
    loop_home.deploy(loop_home.register())
    incident = loop_home.open_change(DECIDED)
    ready(loop_home, loop_home.register(), incident_id=incident)
    with loop_home.database.read() as conn:
        assert candidates.has_pending(conn)
    assert consume(loop_home) == 1
    assert consume(loop_home) == 0
    with loop_home.database.read() as conn:
        (rollout,) = list_rollouts(conn, MODEL)
        texts = [entry.text for entry in list_entries(conn, incident)]
    assert rollout.started_model_at == DECIDED
    assert rollout.incident_id == incident
    assert any("rollout of version 2 started" in text for text in texts)


def test_the_same_news_twice_starts_one_rollout(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    number = home.register()
    ready(home, number)
    consume(home)
    with home.database.write() as conn:
        control.abort(conn, MODEL, actor=Actor("grace"), why="no", now=home.now, model_time=None)
    ready(home, number)
    consume(home)
    with home.database.read() as conn:
        assert [rollout.state for rollout in list_rollouts(conn, MODEL)] == ["aborted"]


def test_a_candidate_that_finds_another_rollout_is_not_lost_in_silence(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(home.register())
    incident = home.open_change(DECIDED)
    ready(home, home.register(), incident_id=incident)
    assert consume(home) == 1
    with home.database.read() as conn:
        assert any("not rolled out" in entry.text for entry in list_entries(conn, incident))
        assert list_evidence(conn, MODEL, 3, kind="rollout")[0].facts["verdict"] == "not rolled out"


def test_a_candidate_waits_for_the_strictest_count_of_approvals(loop_home, loop_project):
    loop_home.deploy(loop_home.register())
    number = loop_home.register(loop_project(rollout={"approvals": 1}))
    incident = loop_home.open_change(DECIDED)
    ready(loop_home, number, approvals=2, incident_id=incident)
    consume(loop_home)
    with loop_home.database.read() as conn:
        rollout = find_unfinished(conn, MODEL)
        assert any("waits for 2 approval(s)" in entry.text for entry in list_entries(conn, incident))
    assert rollout.state == "waiting"
    for name, expected in (("lin", "waiting"), ("sam", "running")):
        with loop_home.database.write() as conn:
            approve(
                conn,
                subject=subject_of(rollout.model, rollout.candidate),
                digest=rollout.digest,
                actor=Actor(name),
                author_id="person:ada",
                why="looks right",
                now=loop_home.now,
                model=MODEL,
            )
        consume(loop_home)
        with loop_home.database.read() as conn:
            assert find_unfinished(conn, MODEL).state == expected


def say(home, number: int, said, name: str) -> None:
    """A person's word on a version."""
    with home.database.write() as conn:
        version = get_version(conn, MODEL, number)
        given = {"subject": subject_of(MODEL, number), "digest": version.digest, "actor": Actor(name)}
        author = {"author_id": "person:ada"} if said is approve else {}
        said(conn, **given, **author, why="looked at it", now=home.now, model=MODEL)


def test_a_first_version_waits_for_the_strictest_count_of_approvals_too(loop_home, loop_project):
    started = loop_home.deploy(
        loop_home.register(loop_project(rollout={"approvals": 1})), origin=Origin(approvals=2)
    )
    assert (started.state, started.waiting_for, started.revision) == ("waiting", 2, None)
    with loop_home.database.read() as conn:
        assert current(conn, MODEL) is None and find_unfinished(conn, MODEL).champion is None
        [told] = list_events(conn, kinds=["rollout.waiting"])
    assert (told.facts["version"], told.facts["waiting_for"]) == (1, 2) and "2 approval(s)" in told.facts[
        "because"
    ]
    with pytest.raises(RolloutRunning):
        loop_home.deploy(loop_home.register(loop_project(rollout={"approvals": 1})))
    with loop_home.database.write() as conn, pytest.raises(Conflict, match=r"2 more approval\(s\)"):
        control.promote(conn, MODEL, actor=Actor("grace"), why="now", now=loop_home.now, model_time=DECIDED)
    say(loop_home, 1, approve, "lin")
    consume(loop_home)
    with loop_home.database.read() as conn:
        assert current(conn, MODEL) is None
    say(loop_home, 1, approve, "sam")
    consume(loop_home)
    with loop_home.database.read() as conn:
        assert (current(conn, MODEL).champion, current(conn, MODEL).previous) == (1, None)
        (ended,) = list_rollouts(conn, MODEL)
        assert (ended.state, ended.candidate) == ("promoted", 1) and ended.ended_at is not None
        (proof,) = list_evidence(conn, MODEL, 1, kind="rollout")
    assert proof.facts["verdict"] == "first"


def test_a_first_version_that_is_rejected_never_goes_into_service(quick_loop_home, loop_project):
    home = quick_loop_home
    home.deploy(home.register(loop_project(rollout={"approvals": 1})))
    say(home, 1, reject, "lin")
    consume(home)
    with home.database.read() as conn:
        assert current(conn, MODEL) is None
        (ended,) = list_rollouts(conn, MODEL)
    assert ended.state == "aborted" and "looked at it" in ended.because


def test_a_rejection_ends_a_waiting_rollout_and_the_champion_stays(quick_loop_home, loop_project):
    home = quick_loop_home
    home.deploy(home.register())
    started = home.deploy(home.register(loop_project(rollout={"approvals": 1})))
    assert started.waiting_for == 1
    with home.database.write() as conn:
        rollout = find_unfinished(conn, MODEL)
        reject(
            conn,
            subject=subject_of(rollout.model, rollout.candidate),
            digest=rollout.digest,
            actor=Actor("lin"),
            why="unfair",
            now=home.now,
            model=MODEL,
        )
    consume(home)
    with home.database.read() as conn:
        (ended,) = list_rollouts(conn, MODEL)
    assert ended.state == "aborted"
    assert "unfair" in ended.because


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_rejection_ends_a_rollout_under_way_too_and_an_approval_changes_nothing(quick_loop_home, is_paused):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(home.register())
    if is_paused:
        with home.database.write() as conn:
            control.pause(conn, MODEL, actor=Actor("grace"), why="wait", now=home.now, model_time=None)
    with home.database.read() as conn:
        before = find_unfinished(conn, MODEL)
    say(home, 2, approve, "sam")
    consume(home)
    with home.database.read() as conn:
        assert find_unfinished(conn, MODEL) == before
    say(home, 2, reject, "lin")
    consume(home)
    with home.database.read() as conn:
        assert (current(conn, MODEL).champion, current(conn, MODEL).candidate) == (1, None)
        (ended,) = list_rollouts(conn, MODEL)
    assert (ended.state, ended.because) == ("aborted", "rejected by lin: looked at it")


def test_a_rejection_ends_the_rollout_of_the_same_package_under_a_later_number(quick_loop_home, loop_project):
    home = quick_loop_home
    home.deploy(home.register())
    home.register()
    with home.database.read() as conn:
        digest = get_version(conn, MODEL, 2).digest
    home.deploy(home.register(loop_project(rollout={"approvals": 1}), digest=digest))
    say(home, 2, approve, "sam")  # of another number: it begins nothing
    consume(home)
    with home.database.read() as conn:
        assert (find_unfinished(conn, MODEL).candidate, find_unfinished(conn, MODEL).state) == (3, "waiting")
    say(home, 2, reject, "lin")
    consume(home)
    with home.database.read() as conn:
        (ended,) = list_rollouts(conn, MODEL)
    assert ended.state == "aborted" and "looked at it (as bikes@2" in ended.because


def test_a_rollout_finds_its_approval_however_many_other_models_wait(quick_loop_home, loop_project):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(home.register(loop_project(rollout={"approvals": 1})))
    with home.database.write() as conn:
        mine = find_unfinished(conn, MODEL)
        later = mine.started_at + timedelta(hours=1)
        for number in range(120):
            others = {"id": f"rol_{number}", "model": f"model-{number}", "started_at": later}
            save_new(conn, msgspec.structs.replace(mine, **others))
    say(home, 2, approve, "lin")
    consume(home)
    with home.database.read() as conn:
        assert find_unfinished(conn, MODEL).state == "running"


def test_an_alarm_soon_after_a_promotion_is_evidence_on_the_version_and_names_the_way_back(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(home.register())
    with home.database.write() as conn:
        control.promote(conn, MODEL, actor=Actor("grace"), why="yes", now=home.now, model_time=DECIDED)
    incident = home.open_change(DECIDED)
    for week, version in ((0, 2), (1, 1), (9, 2)):
        with home.database.write() as conn:
            raised = signal_about(home, week, version, incident)
            noted = [note_watch_alarm(conn, raised, home.now) for _ in range(2)]
        assert noted == [week == 0, False]
    with home.database.read() as conn:
        (found,) = list_evidence(conn, MODEL, 2, kind="watch")
        texts = [entry.text for entry in list_entries(conn, incident)]
    assert found.facts["verdict"] == "alarm"
    assert len([text for text in texts if "flyball rollback bikes" in text and "version 1 back" in text]) == 1


def signal_about(home, week: int, version: int, incident: str) -> Signal:
    start = DECIDED + timedelta(days=7 * week)
    return Signal(
        id=signal_id(MODEL, start, "performance", str(version)),
        model=MODEL,
        kind="performance",
        window_start=start,
        window_end=start + timedelta(days=7),
        at=start + timedelta(days=8),
        raised_at=home.now,
        statistic=70.0,
        threshold=50.0,
        p_value=None,
        cause="concept-drift",
        feature=None,
        sentence="The error grew.",
        facts={"version": version},
        incident_id=incident,
        confirmed=True,
    )


def damage(home, number: int) -> None:
    """Overwrite the stored file of a version."""
    with home.database.read() as conn:
        digest = get_version(conn, MODEL, number).digest
    (file,) = read_manifest(digest, home.blobs).files
    path = Path(home.blobs.url.removeprefix("file://"), home.blobs.object_key(file.digest))
    path.chmod(0o600)
    path.write_bytes(b"other bytes")


def test_a_candidate_whose_files_are_damaged_is_not_rolled_out_and_it_is_said_why(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    incident = home.open_change(DECIDED)
    number = home.register()
    damage(home, number)
    ready(home, number, incident_id=incident)
    assert consume(home) == 1
    with home.database.read() as conn:
        assert list_rollouts(conn, MODEL) == []
        (told,) = [e.text for e in list_entries(conn, incident) if "not rolled out" in e.text]
        assert "sha256:" in told
        assert told.endswith(list_evidence(conn, MODEL, number, kind="rollout")[0].facts["because"])


def test_an_approval_of_a_version_that_was_damaged_meanwhile_ends_its_rollout(quick_loop_home, loop_project):
    home = quick_loop_home
    home.deploy(home.register())
    immediate = loop_project(rollout={"approvals": 1, "strategy": "immediate"})
    started = home.deploy(home.register(immediate))
    assert started.waiting_for == 1
    damage(home, 2)
    with home.database.write() as conn:
        rollout = find_unfinished(conn, MODEL)
        approve(
            conn,
            subject=subject_of(rollout.model, rollout.candidate),
            digest=rollout.digest,
            actor=Actor("lin"),
            author_id="person:ada",
            why="looks right",
            now=home.now,
            model=MODEL,
        )
    assert consume(home) == 1
    with home.database.read() as conn:
        (rollout,) = list_rollouts(conn, MODEL)
        assert (rollout.state, current(conn, MODEL).champion) == ("aborted", 1)
        assert "sha256:" in rollout.because


def test_news_wait_for_a_store_that_is_away(quick_loop_home):
    home = quick_loop_home
    home.deploy(home.register())
    ready(home, home.register())
    objects = Path(home.blobs.url.removeprefix("file://"))
    objects.rename(objects.with_name("away"))
    assert consume(home) == 0
    objects.with_name("away").rename(objects)
    assert consume(home) == 1
    with home.database.read() as conn:
        assert [rollout.state for rollout in list_rollouts(conn, MODEL)] == ["running"]
