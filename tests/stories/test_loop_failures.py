"""A retraining that fails is told, changes nothing, and does not stand in the way of the next one."""

from __future__ import annotations

from typing import Any

from flyball.delivery.rollouts import list_rollouts
from flyball.governance.actors import local_actor
from flyball.governance.events import list_events
from flyball.registry.versions import list_versions
from flyball.retraining.due import busy
from flyball.retraining.manual import retrain_now
from flyball.retraining.retrainings import get_retraining

MODEL = "bike-sharing"
GUARD = '    if train.height > 2200:\n        raise ValueError("more rows than this machine holds")\n'


def read(loop: Any, work: Any) -> Any:
    with loop.backends.database.read() as conn:
        return work(conn)


def test_a_train_that_raises_on_the_new_rows_ends_the_retraining_with_its_words(make_loop, bikes):
    loop = make_loop(lambda text: text.replace("trees = 120", "trees = 10"))
    code = loop.folder / "train.py"
    code.write_text(code.read_text().replace("    model = lightgbm", GUARD + "    model = lightgbm"))
    loop.train(bikes("2011-12-01", "2012-03-01"))
    loop.replay(bikes("2012-03-01", "2012-03-16"))
    now, moment = loop.backends.clock.now(), bikes("2012-03-15", "2012-03-16")["ts"].max()
    with loop.backends.database.write() as conn:
        asked = retrain_now(conn, MODEL, actor=local_actor(), why="to see", now=now, model_time=moment)
    loop.turn(moment)
    ended = read(loop, lambda conn: get_retraining(conn, asked.id))
    assert ended.state == "failed"
    assert "more rows than this machine holds" in ended.result
    assert ended.version is None
    left = {path.name for path in (loop.backends.settings.runs_folder / asked.id).iterdir()}
    assert left == {"log.txt"}
    assert not read(loop, lambda conn: busy(conn, MODEL))
    assert len(read(loop, lambda conn: list_versions(conn, MODEL))) == 1
    assert read(loop, lambda conn: list_rollouts(conn, MODEL)) == []
    assert len(read(loop, lambda conn: list_events(conn, kinds=["retraining.failed"]))) == 1
    with loop.backends.database.write() as conn:
        assert (
            retrain_now(conn, MODEL, actor=local_actor(), why="again", now=now, model_time=moment).state
            == "wanted"
        )
