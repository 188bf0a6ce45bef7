from __future__ import annotations

from datetime import UTC, datetime

from flyball.core.project import LogSection
from flyball.core.records import OutcomeRecord, PredictionRecord
from flyball.data.redaction import LogRules, hash_value

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY, OTHER_KEY = b"k" * 32, b"o" * 32


def a_record(number: int = 1, **fields: object) -> PredictionRecord:
    given = {
        "input": {"age": 41, "client_id": "c-4711", "city": "Bern"},
        "entity": "c-4711",
        "role": "champion",
    }
    return PredictionRecord(
        format=1, id=f"prd_{number}", model="m1", at=NOW, received_at=NOW, asked=1, **(given | fields)
    )


def an_outcome(**fields: object) -> OutcomeRecord:
    return OutcomeRecord(format=1, id="out_1", model="m1", value=1, at=NOW, received_at=NOW, **fields)


def test_without_rules_the_same_list_is_written():
    records = [a_record()]

    assert LogRules(LogSection(), KEY, "client_id").prepare(records) is records


def test_dropped_fields_are_gone_and_the_given_record_is_left_alone():
    record = a_record()

    (written,) = LogRules(LogSection(drop=["city", "client_id"]), KEY, "client_id").prepare([record])

    assert written.input == {"age": 41}
    assert written.entity is None
    assert record.input == {"age": 41, "client_id": "c-4711", "city": "Bern"}
    assert record.entity == "c-4711"


def test_hashed_fields_still_join_and_no_longer_tell_the_value():
    rules = LogRules(LogSection(hash=["client_id", "age"]), KEY, "client_id")

    first, second = rules.prepare([a_record(1), a_record(2)])
    (outcome,) = rules.prepare([an_outcome(entity="c-4711", time=NOW)])

    assert first.entity == second.entity == outcome.entity == first.input["client_id"]
    assert "4711" not in str(first) and "41" not in str(first.input["age"])[:3]


def test_hashes_depend_on_the_key_and_not_on_how_a_number_was_written():
    assert hash_value("5", KEY) == hash_value(5, KEY)
    assert hash_value("5", KEY) != hash_value("5", OTHER_KEY)
    assert hash_value(True, KEY) != hash_value(1, KEY)


def test_a_null_is_not_hashed():
    (written,) = LogRules(LogSection(hash=["age"]), KEY).prepare([a_record(input={"age": None})])

    assert written.input == {"age": None}


def test_values_that_may_not_be_written_are_blanked_in_messages_too():
    record = a_record(error="ValueError: city Bern has no climate", flags=["value:city", "got 'c-4711'"])

    (written,) = LogRules(LogSection(drop=["city"], hash=["client_id"]), KEY, "client_id").prepare([record])

    assert "Bern" not in (written.error or "")
    assert not any("4711" in flag for flag in written.flags)


def test_sampling_keeps_its_share_and_treats_all_records_of_one_prediction_alike():
    rules = LogRules(LogSection(sample=0.25), KEY)
    ids = range(4000)
    kept = {record.id for record in rules.prepare([a_record(number) for number in ids])}
    shadows = {record.id for record in rules.prepare([a_record(number, role="shadow") for number in ids])}
    told = {
        record.prediction_id
        for record in rules.prepare([an_outcome(prediction_id=f"prd_{number}") for number in ids])
    }

    assert 0.22 < len(kept) / 4000 < 0.28
    assert kept == shadows == told


def test_nothing_is_kept_at_a_sample_of_zero_but_outcomes_by_entity_always_are():
    rules = LogRules(LogSection(sample=0.0), KEY)

    assert rules.prepare([a_record(number) for number in range(100)]) == []
    assert len(rules.prepare([an_outcome(entity="e", time=NOW)])) == 1
