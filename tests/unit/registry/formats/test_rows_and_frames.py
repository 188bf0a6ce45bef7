from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.core.contract import Contract, FeatureRule
from flyball.core.errors import BadAnswer, UnsupportedModel
from flyball.registry.formats.answers import Answers, answers_from, check_answers
from flyball.registry.formats.encoding import RowEncoder
from flyball.registry.formats.features import match_features
from flyball.registry.formats.frames import (
    as_kind,
    from_user,
    matrix_of,
    rows_to_frame,
    with_categories,
    with_types,
)
from flyball.registry.formats.signatures import feature_specs, signature_for
from flyball.registry.manifest import FeatureSpec

CONTRACT = Contract(
    features={
        "count": FeatureRule(type="int"),
        "size": FeatureRule(type="float", nullable=True),
        "new": FeatureRule(type="bool"),
        "city": FeatureRule(type="string", values=("Bonn", "Köln")),
    }
)
SPECS = feature_specs(CONTRACT)

anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(["Bonn", "Köln", "Ulm", "12", "1e3"]),
    st.lists(st.integers(), max_size=2),
)
proper = st.fixed_dictionaries(
    {},
    optional={
        "count": st.one_of(st.none(), st.integers(-(2**53), 2**53)),
        "size": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
        "new": st.one_of(st.none(), st.booleans()),
        "city": st.sampled_from([None, "Bonn", "Köln", "Ulm"]),
        "else": st.integers(),
    },
)


@given(st.lists(proper, min_size=1, max_size=6))
def test_rows_and_frames_give_a_model_the_same_numbers(rows: list[dict[str, Any]]) -> None:
    by_row = RowEncoder(SPECS).encode(rows)
    by_frame = matrix_of(rows_to_frame(rows, SPECS), SPECS)
    assert np.array_equal(by_row, by_frame, equal_nan=True)
    assert by_row.shape == (len(rows), 4)
    assert by_row.flags.c_contiguous and by_frame.flags.c_contiguous


@given(
    st.lists(st.dictionaries(st.sampled_from([*CONTRACT.features, "else"]), anything), min_size=1, max_size=4)
)
def test_no_row_whatever_it_holds_makes_encoding_fail(rows: list[dict[str, Any]]) -> None:
    encoded = RowEncoder(SPECS).encode(rows)
    frame = rows_to_frame(rows, SPECS)
    assert encoded.shape == (len(rows), 4)
    assert frame.height == len(rows)
    cities = encoded[:, 3]
    assert set(cities[~np.isnan(cities)]) <= {0.0, 1.0}


def test_text_is_never_read_as_a_number() -> None:
    encoder = RowEncoder(SPECS[:2])
    assert np.isnan(encoder.encode([{"count": "12", "size": "1e3"}])).all()
    assert encoder.encode([{"count": 10**400, "size": 2}]).tolist()[0][1] == 2.0


def test_a_frame_keeps_what_fits_its_types_and_nothing_else() -> None:
    rows = [
        {"count": 3.0, "size": 2, "new": 1, "city": "Köln"},
        {"count": 3.5, "size": "2", "new": True, "city": "Ulm"},
        {"count": True, "size": math.nan, "new": "yes", "city": 5},
    ]
    frame = rows_to_frame(rows, SPECS)
    assert frame.rows() == [(3, 2.0, None, "Köln"), (None, None, True, "Ulm"), (None, None, None, None)]
    assert with_categories(frame, SPECS)["city"].to_list() == ["Köln", None, None]


def test_narrow_and_missing_columns_come_out_as_requests_have_them() -> None:
    frame = pl.DataFrame(
        {"size": pl.Series([1.5, math.nan], dtype=pl.Float32), "count": pl.Series([1, 2], dtype=pl.Int8)}
    )
    typed = with_types(frame, SPECS)
    assert typed.schema == {"count": pl.Int64, "size": pl.Float64, "new": pl.Boolean, "city": pl.String}
    assert typed.rows() == [(1, 1.5, None, None), (2, None, None, None)]


def test_moments_are_the_same_from_text_and_from_tables() -> None:
    specs = (FeatureSpec(name="at", type="datetime"),)
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    texts = ["2026-03-29T01:30:00Z", "2026-03-29T03:30:00+02:00", "2026-03-29 01:30:00", "soon", None]
    by_rows = rows_to_frame([{"at": text} for text in texts], specs)["at"].to_list()
    assert by_rows == [moment, moment, moment, None, None]
    assert with_types(pl.DataFrame({"at": texts}), specs)["at"].to_list() == by_rows
    naive = pl.DataFrame({"at": [moment.replace(tzinfo=None)]})
    assert with_types(naive, specs)["at"].to_list() == [moment]


@pytest.mark.parametrize(
    "spec", [FeatureSpec(name="note", type="string"), FeatureSpec(name="at", type="datetime")]
)
def test_what_has_no_number_is_told(spec: FeatureSpec) -> None:
    with pytest.raises(UnsupportedModel, match=f"'{spec.name}' is {spec.type}"):
        RowEncoder([spec])
    with pytest.raises(UnsupportedModel, match="has no number"):
        matrix_of(pl.DataFrame({spec.name: ["2026-01-01"]}), [spec])


def test_pandas_and_back_keeps_values_gaps_and_categories() -> None:
    frame = with_categories(
        rows_to_frame(
            [{"count": 1, "size": None, "new": True, "city": "Köln"}, {"count": 2, "size": 0.5, "new": None}],
            SPECS,
        ),
        SPECS,
    )
    given_back = from_user(as_kind(frame, "pandas"), "step")
    assert given_back.rows() == frame.rows()
    assert as_kind(frame, "pandas")["city"].cat.categories.tolist() == ["Bonn", "Köln"]
    assert np.array_equal(as_kind(frame, "numpy"), matrix_of(frame, SPECS), equal_nan=True)


def test_only_frames_are_taken_from_steps() -> None:
    assert from_user(pl.LazyFrame({"a": [1]}), "step x").height == 1
    with pytest.raises(BadAnswer, match="step x returned list"):
        from_user([1, 2], "step x")


def test_a_model_fitted_on_a_matrix_takes_all_features_in_order() -> None:
    assert match_features(["Column_0", "Column_1"], SPECS[:2], generated="Column_") == SPECS[:2]
    assert match_features(None, SPECS[:2], count=2) == SPECS[:2]
    with pytest.raises(UnsupportedModel, match="fitted on 3 columns, requests carry 2"):
        match_features(None, SPECS[:2], count=3)


def test_a_signature_has_the_contracts_order_and_text_of_listed_values() -> None:
    signature = signature_for(CONTRACT, target="late", classes=[False, True], positive=True)
    assert [feature.name for feature in signature.features] == list(CONTRACT.features)
    assert signature.features[3].categories == ("Bonn", "Köln")
    assert signature.classes == (False, True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_binary_models_classes_follow_its_probabilities(scores: list[float]) -> None:
    answers = answers_from(np.array(scores), "binary", ("no", "yes"))
    assert answers.predictions == ["yes" if score > 0.5 else "no" for score in scores]
    assert answers.scores is not None
    assert all(abs(sum(row) - 1) < 1e-12 for row in answers.scores)
    check_answers(answers, len(scores), ["no", "yes"])


@pytest.mark.parametrize(
    ("answers", "classes"),
    [
        (Answers([1.0]), None),
        (Answers([1.0, math.inf]), None),
        (Answers([1.0, True]), None),
        (Answers([1.0, "a"]), None),
        (Answers(["no", "maybe"]), ["no", "yes"]),
        (Answers(["no", "yes"], [[0.5, 0.5], [0.5]]), ["no", "yes"]),
        (Answers(["no", "yes"], [[0.5, 0.5], [0.5, math.nan]]), ["no", "yes"]),
        (Answers(["no", "yes"], [[0.5, 0.5]]), ["no", "yes"]),
    ],
)
def test_unusable_answers_are_told(answers: Answers, classes: Any) -> None:
    with pytest.raises(BadAnswer):
        check_answers(answers, 2, classes)
