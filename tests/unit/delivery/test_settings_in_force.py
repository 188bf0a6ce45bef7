from __future__ import annotations

from typing import Any

import pytest

from flyball.core.errors import BadInput, NoChampion
from flyball.core.values import Actor
from flyball.delivery import control
from flyball.delivery.rollback import way_back
from flyball.delivery.settings import change_settings, settings_of
from flyball.governance.events import list_events
from flyball.governance.verify import verify
from flyball.registry.routes import current, list_revisions

MODEL = "bikes"


def change(home: Any, settings: dict[str, Any], why: str = "fewer alarms") -> int:
    with home.database.write() as conn:
        return change_settings(
            conn,
            MODEL,
            settings,
            actor=Actor("grace"),
            why=why,
            now=home.tick(seconds=1),
            model_time=None,
        )


def test_other_settings_hold_from_a_new_revision_on_and_nothing_else_changes(loop_home, loop_project):
    loop_home.deploy(loop_home.register())
    wanted = settings_of(loop_project(monitor={"window": "14d"}, log={"sample": 0.5}))
    revision = change(loop_home, wanted)
    with loop_home.database.read() as conn:
        now, before = list_revisions(conn, MODEL)
        (told,) = list_events(conn, kinds=["deployment.settings_changed"])
        assert verify(conn).ok
    assert (now.revision, now.champion, now.previous) == (revision, before.champion, before.previous)
    assert settings_of(now.project) == wanted
    unchanged = {name: value for name, value in now.project.items() if name not in wanted}
    assert unchanged == {name: before.project[name] for name in unchanged}
    assert (told.facts["was"]["monitor"]["window"], told.facts["settings"]["monitor"]["window"]) == (
        "7d",
        "14d",
    )
    assert (told.facts["because"], told.actor.name) == ("fewer alarms", "grace")


def test_a_rollout_under_way_keeps_its_candidate_its_share_and_its_own_settings(
    quick_loop_home, loop_project
):
    home = quick_loop_home
    home.deploy(home.register())
    home.deploy(home.register(loop_project(rollout={"strategy": "canary", "steps": [0.05, 1.0]})))
    change(home, settings_of(loop_project(monitor={"window": "14d"})))
    with home.database.read() as conn:
        deployment = current(conn, MODEL)
        assert way_back(conn, MODEL) == []
    assert (deployment.champion, deployment.candidate, deployment.share) == (1, 2, 0.05)
    assert deployment.project["monitor"]["window"] == "14d"
    with home.database.write() as conn:
        control.promote(conn, MODEL, actor=Actor("grace"), why="enough", now=home.now, model_time=None)
        assert current(conn, MODEL).project["monitor"]["window"] == "7d"
        assert way_back(conn, MODEL) == [1]


def test_what_belongs_to_a_version_and_what_is_no_setting_are_refused(quick_loop_home, loop_project):
    home = quick_loop_home
    settings = settings_of(loop_project())
    home.register()
    with pytest.raises(NoChampion):
        change(home, settings)
    home.deploy(1)
    with pytest.raises(BadInput, match=r"data can't change without another version"):
        change(home, {**settings, "data": {"source": "other.parquet"}})
    with pytest.raises(BadInput, match=r"these are no settings of bikes"):
        change(home, {**settings, "monitor": {"windw": "1d"}})
    with pytest.raises(BadInput, match=r"say why"):
        change(home, settings, why=" ")
    with home.database.read() as conn:
        assert current(conn, MODEL).revision == 1
