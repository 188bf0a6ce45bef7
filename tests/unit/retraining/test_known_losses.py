"""A training's key changes with all that its loss rests on, and with nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyball.core.contract import Contract, FeatureRule
from flyball.core.digests import digest_bytes
from flyball.judge.choosing import progressive_folds
from flyball.pipelines.environment import read_environment
from flyball.retraining.folds import FoldsTask, TrainedLoss, describe_trial, rows_to_test, rows_to_train
from flyball.retraining.losses import find_losses, keep_losses, list_trainings, read_losses
from flyball.retraining.plan import RetrainPlan

START = datetime(2026, 1, 5, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = ["expanding", "28d", "14d"]
CODE = digest_bytes(b"code")
WEEKS = 9
LENGTH = WEEKS * 168


def make_rows(weeks: int = WEEKS) -> pl.DataFrame:
    """Hourly rows of which the champion answered those of the sixth week on, each known a day later."""
    hours = range(weeks * 168)
    at = [START + timedelta(hours=hour) for hour in hours]
    return pl.DataFrame(
        {
            "at": at,
            "temp": [hour % 24 / 2 for hour in hours],
            "kind": ["ab"[hour % 2] for hour in hours],
            "note": ["seen by no model"] * len(at),
            "cnt": [hour % 100 for hour in hours],
            "_at": at,
            "_known_at": [moment + timedelta(days=1) for moment in at],
            "_harm": [float(hour % 7) if hour >= 6 * 168 else None for hour in hours],
            "_logged": [hour >= 6 * 168 for hour in hours],
        },
        schema_overrides={name: pl.Datetime("us", "UTC") for name in ("at", "_at", "_known_at")},
    )


ROWS = make_rows()


def folds_at(weeks: int) -> Any:
    until = (START + timedelta(weeks=weeks)).timestamp()
    return progressive_folds(until, window_seconds=7 * 86_400, outcome_delay_seconds=86_400, count=4)


def describe(rows: pl.DataFrame, weeks: int = WEEKS, **changes: Any) -> Any:
    asked = {"folds": folds_at(weeks), "names": NAMES, "columns": ["temp", "kind", "cnt"]}
    return describe_trial(rows, FoldsTask(**{**asked, "least_classes": 0, "has_steps": False, **changes}))


DESCRIBED = describe(ROWS)


@pytest.fixture
def plan(loop_project: Callable[..., Any]) -> RetrainPlan:
    return RetrainPlan(
        retraining_id="rtn_" + "0" * 32,
        champion=1,
        bundle=digest_bytes(b"bundle"),
        tree=digest_bytes(b"tree"),
        root_snapshot=digest_bytes(b"rows"),
        folder=None,
        project=loop_project(train={"params": {"trees": 40}}),
        contract=Contract(features={"temp": FeatureRule(type="float"), "kind": FeatureRule(type="string")}),
        classes=None,
        positive=None,
        features=["temp", "kind"],
        decided_at=START + timedelta(weeks=WEEKS, days=1),
        rows_until=START + timedelta(weeks=WEEKS),
        names=NAMES,
        folds=folds_at(WEEKS),
        held=[],
        is_forced=False,
        because="a signal",
        signal_id=None,
        incident_id=None,
    )


def keys_of(
    plan: RetrainPlan, rows: Any = DESCRIBED, code: str = CODE, champion: str | None = None
) -> set[str]:
    found = {training.key for training in list_trainings(plan, rows, code=code, champion=champion).values()}
    assert len(found) == 12
    return found


def changed(plan: RetrainPlan, **train: Any) -> RetrainPlan:
    """The plan with other settings of [train]."""
    settings = msgspec.structs.replace(plan.project.train, **train)
    return msgspec.structs.replace(plan, project=msgspec.structs.replace(plan.project, train=settings))


def test_code_parameters_seed_threads_contract_and_champion_each_make_other_keys(plan):
    rule = {"temp": FeatureRule(type="float", min=0.0), "kind": FeatureRule(type="string")}
    wheres = [
        keys_of(plan),
        keys_of(plan, code=digest_bytes(b"other code")),
        keys_of(plan, champion=plan.bundle),
        keys_of(plan, champion=digest_bytes(b"another champion")),
        keys_of(changed(plan, params={"trees": 41})),
        keys_of(changed(plan, seed=8)),
        keys_of(changed(plan, threads=2)),
        keys_of(changed(plan, entry="train:other")),
        keys_of(changed(plan, frames="pandas")),
        keys_of(msgspec.structs.replace(plan, contract=Contract(features=rule))),
        keys_of(msgspec.structs.replace(plan, classes=["a", "b"], positive="a")),
    ]
    assert len(set.union(*wheres)) == 12 * len(wheres)


def test_what_no_loss_rests_on_leaves_the_keys_as_they_are(plan):
    later = msgspec.structs.replace(plan, retraining_id="rtn_" + "1" * 32, because="another", is_forced=True)
    assert keys_of(changed(later, timeout="2h")) == keys_of(plan)
    noted = ROWS.with_columns(pl.lit("another").alias("note"), pl.col("_logged").not_())
    assert keys_of(plan, describe(noted)) == keys_of(plan)


@pytest.fixture
def another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    def install() -> None:
        (tmp_path / "learner-2.0.dist-info").mkdir()
        monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
        read_environment.cache_clear()

    yield install
    read_environment.cache_clear()


def test_another_package_makes_other_keys(plan, another_package):
    before = keys_of(plan)
    another_package()
    assert keys_of(plan).isdisjoint(before)


@given(
    row=st.integers(0, LENGTH - 1),
    column=st.sampled_from(["temp", "kind", "cnt"]),
    value=st.sampled_from([None, 1000]),
)
@settings(max_examples=40)
def test_another_value_makes_another_key_for_the_trainings_that_see_the_row_and_for_no_other(
    row: int, column: str, value: int | None
):
    kind = ROWS.schema[column]
    cell = pl.lit(value).cast(kind)
    rows = ROWS.with_columns(
        pl.when(pl.int_range(LENGTH) == row).then(cell).otherwise(pl.col(column)).alias(column)
    )
    found = describe(rows)
    at = ROWS["_at"][row]
    for fold, now, before in zip(folds_at(WEEKS), found.folds, DESCRIBED.folds, strict=True):
        assert (now.test != before.test) == (at in rows_to_test(ROWS, fold)["_at"])
        for name in NAMES:
            assert (now.train[name] != before.train[name]) == (at in rows_to_train(ROWS, name, fold)["_at"])


@given(st.permutations(range(4)))
def test_the_order_of_rows_counts_since_training_sees_it(order: list[int]):
    first = ROWS.head(4)[order]
    rows = pl.concat([first, ROWS[4:]])
    assert (describe(rows).folds[0].train == DESCRIBED.folds[0].train) == (order == sorted(order))


def test_another_row_to_test_on_is_another_training(plan):
    last = pl.int_range(LENGTH) == LENGTH - 1
    rows = ROWS.with_columns(pl.when(last).then(1000).otherwise("cnt").alias("cnt"))
    assert len(keys_of(plan) & keys_of(plan, describe(rows))) == 9


def test_a_week_later_three_folds_are_the_same_by_content(plan):
    later = msgspec.structs.replace(plan, folds=folds_at(WEEKS + 1))
    assert len(keys_of(plan) & keys_of(later, describe(make_rows(WEEKS + 1), WEEKS + 1))) == 9


def test_steps_whose_columns_are_told_from_all_rows_make_every_row_count(plan):
    whole = describe(ROWS, has_steps=True)
    longer = describe(make_rows(WEEKS + 1), has_steps=True)
    assert longer.folds == whole.folds
    assert keys_of(plan, longer).isdisjoint(keys_of(plan, whole))


def test_the_champions_loss_is_that_of_the_rows_it_answered():
    assert [fold.champion is None for fold in DESCRIBED.folds] == [True, False, False, False]
    assert [fold.row_count for fold in DESCRIBED.folds] == [168] * 4
    half = describe(ROWS.with_columns(pl.when(pl.col("cnt") < 50).then("_harm").alias("_harm")))
    assert 60 < half.folds[3].row_count < 110
    assert half.folds[3].champion == pytest.approx(3.0, abs=0.5)


def test_too_few_rows_or_classes_are_not_trained():
    assert describe(ROWS.tail(5 * 168)).folds[0].train == {"expanding": None, "28d": None, "14d": None}
    assert set(describe(ROWS, columns=["temp", "kind"], least_classes=3).folds[3].train.values()) == {None}
    assert None not in describe(ROWS, columns=["temp", "kind"], least_classes=2).folds[3].train.values()
    assert set(describe(ROWS, weeks=WEEKS + 5).folds[3].train.values()) == {None}


def test_a_loss_comes_back_bit_for_bit_and_none_is_a_loss_too(database):
    losses = [
        TrainedLoss(key=digest_bytes(b"%d" % number), loss=loss)
        for number, loss in enumerate([0.1 + 0.2, 1e-17, 3.0, None])
    ]
    with database.write() as conn:
        keep_losses(conn, losses, "rtn_" + "0" * 32, NOW)
        keep_losses(conn, losses[:1], "rtn_" + "1" * 32, NOW)
    with database.read() as conn:
        found = find_losses(conn, [loss.key for loss in losses] + [CODE])
    assert found == {loss.key: loss.loss for loss in losses}


def test_of_a_childs_file_only_whole_lines_about_what_it_was_asked_for_count(tmp_path):
    file = tmp_path / "losses.jsonl"
    assert read_losses(file, [CODE]) == []
    asked, other = TrainedLoss(key=CODE, loss=0.5), TrainedLoss(key=digest_bytes(b"other"), loss=0.0)
    lines = [b"\xff\xfe", b'{"key": 5}', msgspec.json.encode(other), msgspec.json.encode(asked)]
    file.write_bytes(b"\n".join(lines) + b"\n" + msgspec.json.encode(asked)[:-4])
    assert read_losses(file, [CODE]) == [asked]
