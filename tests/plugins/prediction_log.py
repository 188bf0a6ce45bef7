"""Records of a prediction log for tests, and segments of them as a model server's shipper would leave them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest


class LogBook:
    """Makes records of one model and puts them into an object store as shipped segments."""

    start = datetime(2026, 3, 1, tzinfo=UTC)

    def __init__(self) -> None:
        self._sequence = 0

    def prediction(self, number: int, model: str = "bike", **fields: Any) -> Any:
        """Prediction `number`, made at hour `number` and received a second after the one before."""
        from flyball.core.records import PredictionRecord

        given = {
            "id": f"prd_{number}",
            "at": self.start + timedelta(hours=number),
            "received_at": self.start + timedelta(days=400, seconds=number),
            "role": "champion",
            "asked": 1,
            "answered": 1,
            "input": {"temp": number / 10, "hour": number % 24},
            "output": float(number),
        }
        return PredictionRecord(format=1, model=model, **(given | fields))

    def outcome(self, number: int, value: Any = 1.0, model: str = "bike", **fields: Any) -> Any:
        """What became of prediction `number`, known a day after it."""
        from flyball.core.records import OutcomeRecord

        given = {
            "id": f"out_{number}_{value}",
            "at": self.start + timedelta(hours=number, days=1),
            "received_at": self.start + timedelta(days=401, seconds=number),
            "prediction_id": f"prd_{number}",
        }
        return OutcomeRecord(format=1, model=model, value=value, **(given | fields))

    def ship(self, blobs: Any, records: list[Any], worker: str = "s-1") -> str:
        """Put one segment into the store, a frame per record; its key."""
        self._sequence += 1
        key = f"segments/{worker}-{self._sequence:013d}.seg"
        blobs.create(key, self.segment(records, worker))
        return key

    def segment(self, records: list[Any], worker: str = "s-1") -> bytes:
        """The bytes of a segment, a frame per record."""
        from flyball.data.segments import SegmentHeader, encode_records, frame, segment_start

        header = SegmentHeader(worker=worker, sequence=self._sequence, created_at=self.start)
        return segment_start(header) + b"".join(frame(encode_records([record])) for record in records)


@pytest.fixture
def log_book() -> LogBook:
    """A maker of records and segments."""
    return LogBook()
