"""Whether a retraining of a model is under way. SQL only."""

from __future__ import annotations

from sqlalchemy import Connection

from flyball.retraining.retrainings import is_training


def busy(conn: Connection, model: str) -> bool:
    """Whether a retraining was decided and has not ended: what it leads to depends on no moment of model time."""
    return is_training(conn, model)
