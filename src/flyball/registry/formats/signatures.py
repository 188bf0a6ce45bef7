"""Signatures from contracts: what a request carries follows from what it must satisfy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flyball.core.contract import Contract
from flyball.core.records import label_text
from flyball.registry.manifest import FeatureSpec, Signature


def feature_specs(contract: Contract) -> tuple[FeatureSpec, ...]:
    """A feature for each rule, in the contract's order; listed values of text become categories."""
    return tuple(
        FeatureSpec(
            name=name,
            type=rule.type,
            nullable=rule.nullable,
            categories=tuple(label_text(value) for value in rule.values)
            if rule.type == "string" and rule.values
            else None,
        )
        for name, rule in contract.features.items()
    )


def signature_for(
    contract: Contract, *, target: str, classes: Sequence[Any] | None = None, positive: Any = None
) -> Signature:
    """The signature of a model whose requests satisfy a contract."""
    return Signature(
        features=feature_specs(contract),
        target=target,
        classes=None if classes is None else tuple(classes),
        positive=positive,
    )
