"""A control plane whose home is full of texts that try to be more than text, in every place that others can fill."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHORT = "<script>alert(1)</script>"
TRAP = (
    f"{SHORT}\"'><img src=x onerror=alert(2)><svg onload=alert(3)></svg></title></textarea></pre></text>]]>"
    "<a href=javascript:alert(4)>x</a> javascript:alert(5) ' onmouseover='alert(6)' //evil.example {{7*7}} `${8}` --> "
    "&lt;b&gt; \u202egnp.exe \u2066x\u200b\u200d\ufeff\u2028\x07\x1b[31m \u00e9\u4e2d\U0001f6b2 %3Cscript%3E"
)
LONG = TRAP + "W" * 10_000
MODEL = "trap"


def fill(home: Path, book: Any) -> dict[str, str]:
    """Fill a home: everything of `seed`, and runs, retrainings, rollouts and predictions; the ids of what was made."""
    from flyball_tests_control import open_home, seed

    from flyball.core.contract import Contract, FeatureRule
    from flyball.core.values import Actor
    from flyball.data.ingest import LogSchema, fold
    from flyball.delivery import rollouts
    from flyball.delivery.start import deploy
    from flyball.monitoring.incidents import add_entry
    from flyball.retraining import retrainings

    ids = seed(home, MODEL, LONG)
    actor = Actor(TRAP[:80], "automation")
    with open_home(home) as app:
        ids["run"] = _run(app, actor)
        with app.backends.database.write() as conn:
            add_entry(conn, ids["incident"], "note", LONG, actor=actor, model_time=None, now=NOW)
            retrainings.save_new(conn, _retraining(ids, actor))
            deploy(conn, MODEL, 2, actor=actor, why=LONG, now=NOW, model_time=NOW)
            rollout = rollouts.get_unfinished(conn, MODEL)
            guard = {"metric": TRAP, "state": TRAP, "count": TRAP, "estimate": TRAP, "because": LONG}
            rollouts.change(conn, rollout.id, evidence={"guards": [guard], TRAP: LONG}, because=LONG)
        features = {"plain": FeatureRule(type="float"), TRAP[:60]: FeatureRule(type="string")}
        schema = LogSchema(task="classification", contract=Contract(features=features))
        given = {"plain": 1.0, TRAP[:60]: LONG, "unknown <b>": TRAP}
        ids["prediction"] = "prd_" + "7" * 32
        records = [
            book.prediction(1, MODEL, id=ids["prediction"], input=given, output=TRAP, entity=TRAP[:200], flags=[TRAP]),
            book.prediction(1, MODEL, id=ids["prediction"], input=given, output=TRAP, role="shadow"),
            book.prediction(2, MODEL, id="prd_" + "8" * 32, input=given, output=None, answered=None, error=LONG),
            book.outcome(1, TRAP, MODEL, prediction_id=ids["prediction"]),
        ]  # fmt: skip
        backends = app.backends
        book.ship(backends.blobs, records)
        fold(
            backends.database, backends.blobs, backends.tables_url, {MODEL: schema}, NOW + timedelta(days=700)
        )
    return ids


def hostile_paths(ids: dict[str, str]) -> list[str]:
    """Every page of the console that shows what was filled in."""
    return [
        "/",
        f"/models/{MODEL}",
        f"/models/{MODEL}/versions/1",
        f"/models/{MODEL}/versions/2",
        f"/models/{MODEL}/versions/3",
        f"/models/{MODEL}/predictions",
        f"/predictions/{ids['prediction']}",
        "/predictions/prd_" + "8" * 32,
        "/incidents",
        f"/incidents/{ids['incident']}",
        "/runs",
        f"/runs/{ids['run']}",
        "/audit?verify=true",
        "/models/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/runs/%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
    ]


def _run(app: Any, actor: Any) -> str:
    from flyball.core.ids import new_id
    from flyball.pipelines.runs import Run, begin_step, end_step, insert_run

    run = Run(
        id=new_id("run"),
        model=MODEL,
        state="failed",
        version=2,
        cached=False,
        fingerprint="sha256:" + "0" * 64,
        request={TRAP: LONG},
        result={TRAP: LONG},
        error={"message": LONG, "code": TRAP},
        log=None,
        signal_id=None,
        actor=actor.name,
        why=LONG,
        started_at=NOW,
        finished_at=NOW,
    )
    with app.backends.database.write() as conn:
        insert_run(conn, run)
        begin_step(conn, run.id, SHORT, 0, NOW)
        end_step(conn, run.id, SHORT, NOW, state="failed", error={"message": LONG}, facts={TRAP: TRAP})
    folder = app.settings.runs_folder / run.id
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text(f"{TRAP}\n{LONG}\n")
    return run.id


def _retraining(ids: dict[str, str], actor: Any) -> Any:
    from flyball.retraining.retrainings import Retraining, retraining_id

    return Retraining(
        id=retraining_id(MODEL, NOW),
        model=MODEL,
        signal_id=None,
        incident_id=ids["incident"],
        state="ready",
        decided_at=NOW,
        rows_until=NOW,
        champion=1,
        data_choice={TRAP: [LONG]},
        root_snapshot=None,
        snapshot=None,
        run_id=ids["run"],
        version=2,
        rollout_id=None,
        because=LONG,
        result=LONG,
        actor=actor.name,
        created_at=NOW,
        finished_at=NOW,
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, control_environment: dict[str, str]) -> Iterator[Any]:
    """A control plane at work on such a home."""
    from flyball_tests_control import Control
    from flyball_tests_prediction_log import LogBook

    home = tmp_path_factory.mktemp("hostile") / "home"
    made = Control(home, control_environment, ids=fill(home, LogBook()))
    yield made.start()
    made.kill()
