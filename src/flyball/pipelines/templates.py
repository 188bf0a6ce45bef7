"""What `flyball init` writes: a project file, a training file that imports nothing of Flyball, an example table."""

from __future__ import annotations

import csv
import io
import json
import math
import random
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from flyball.core.contract import Contract, FeatureRule
from flyball.core.project import Task

Learner = Literal["lightgbm", "scikit-learn"]


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a project that is about to be written. `excluded`: column and the reason it is left out.

    `pace`: settings of [monitor] and [rollout] that the traffic asks for.
    """

    name: str
    task: Task
    target: str
    source: str
    positive: str | int | bool | None = None
    entity: str | None = None
    time: str | None = None
    excluded: dict[str, str] = {}
    pace: dict[str, dict[str, str | int]] = {}
    contract: Contract = Contract()


def project_text(draft: Draft) -> str:
    """`flyball.toml`: the lines that count, then what people usually change next, as comments."""
    model: list[tuple[str, str | int | bool, str]] = [
        ("name", draft.name, ""),
        ("task", draft.task, "binary | multiclass | regression"),
        ("target", draft.target, "the column to predict"),
    ]
    if draft.positive is not None:
        model.append(("positive", draft.positive, "the class whose probability is reported"))
    if draft.entity is not None:
        model.append(("entity", draft.entity, "whom a prediction is about"))
    if draft.time is not None:
        model.append(("time", draft.time, "event time: split, monitoring and backtests follow it"))
    lines = ["[model]", *(_line(*item) for item in model), ""]
    lines += ["[data]", _line("source", draft.source, "")]
    if draft.excluded:
        lines.append("exclude = [")
        lines += [f"    {_value(name)},  # {reason}" for name, reason in draft.excluded.items()]
        lines.append("]")
    lines += [
        _line(
            "outcome_delay",
            "0s",
            "0s: the truth is known at once; if it comes later, how much later: 30d, 12h, …",
        ),
        "",
        "[train]",
        _line("entry", "train:train", "module:function"),
        _line("frames", "numpy", "what train receives: polars | pandas | numpy"),
        "params = { learning_rate = 0.08 }",
        "",
        *_gates(draft),
        "",
        *_pace(draft.pace),
        *_contract(draft.contract),
    ]
    return "\n".join(lines) + "\n"


def _gates(draft: Draft) -> list[str]:
    metric, better = {
        "binary": ("log_loss", "max_increase = 0.01"),
        "multiclass": ("log_loss", "max_increase = 0.02"),
        "regression": ("r2", "max_decrease = 0.01"),
    }[draft.task]
    return [
        "# A new version must be shown to be not much worse than the one in service, on the same rows.",
        "[[gates]]",
        f'metric = "{metric}"',
        'versus = "champion"',
        better,
    ]


_PACE_REASONS = {
    "window": "long enough to hold monitor.min_rows rows at the pace of these data",
    "min_rows": "as many as such a window surely holds",
    "strategy": "a share of this little traffic would decide nothing; a shadow is compared on every row",
}


def _pace(pace: dict[str, dict[str, str | int]]) -> list[str]:
    lines = []
    for section, settings in pace.items():
        lines += [
            f"[{section}]",
            *(_line(key, value, _PACE_REASONS[key]) for key, value in settings.items()),
            "",
        ]
    return lines


def _contract(contract: Contract) -> list[str]:
    if not contract.features:
        return []
    rows = [f"# {name} = {_rule(rule)}" for name, rule in _bare(contract).items()]
    return [
        "# What requests must satisfy is inferred from the training rows of each run. To fix rules, write them down:",
        "# [contract.features]",
        *rows,
    ]


def _bare(contract: Contract) -> dict[str, FeatureRule]:
    return {
        json.dumps(name) if not name.isidentifier() else name: rule
        for name, rule in contract.features.items()
    }


def _rule(rule: FeatureRule) -> str:
    parts = [f'type = "{rule.type}"']
    for key in ("min", "max"):
        limit = getattr(rule, key)
        if limit is not None:
            parts.append(f"{key} = {limit:g}")
    if rule.values is not None:
        parts.append(f"values = [{', '.join(_value(value) for value in rule.values)}]")
    if rule.nullable:
        parts.append("nullable = true")
    return f"{{ {', '.join(parts)} }}"


def _line(key: str, value: str | int | bool, comment: str) -> str:
    text = f"{key} = {_value(value)}"
    return f"{text:<36} # {comment}" if comment else text


def _value(value: str | int | bool) -> str:
    return json.dumps(value, ensure_ascii=False)  # TOML's basic strings, integers and booleans are JSON's


_LIGHTGBM = '''"""Trains the model that flyball.toml describes. Plain Python: run it, test it, change it as you like."""

from lightgbm import {estimator}


def train(X, y, params, seed):
    """A fitted model. X: features as numbers (missing: NaN, categories: their code), y: the target."""
    model = {estimator}(
        n_estimators=150,
        num_leaves=15,
        subsample=0.9,
        subsample_freq=1,
        random_state=seed,
        n_jobs=1,
        verbose=-1,
        **params,
    )
    return model.fit(X, y)
'''
_SKLEARN = '''"""Trains the model that flyball.toml describes. Plain Python: run it, test it, change it as you like."""

from sklearn.ensemble import {estimator}


def train(X, y, params, seed):
    """A fitted model. X: features as numbers (missing: NaN, categories: their code), y: the target."""
    model = {estimator}(max_iter=150, max_leaf_nodes=15, random_state=seed, **params)
    return model.fit(X, y)
'''


def training_text(task: Task, learner: Learner) -> str:
    """`train.py` for a task, with the learner that is installed."""
    kind = "Regressor" if task == "regression" else "Classifier"
    if learner == "lightgbm":
        return _LIGHTGBM.format(estimator=f"LGBM{kind}")
    return _SKLEARN.format(estimator=f"HistGradientBoosting{kind}")


EXAMPLE_FILE = "data/orders.csv"
EXAMPLE_TARGET = "returned"


def example_table(rows: int = 3000, seed: int = 7) -> str:
    """A made-up table of orders, as CSV: will the customer send the order back? The same for a seed, everywhere."""
    rng = random.Random(seed)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["ordered_at", "customer_id", "category", "price", "items", "discount", "days_since_last", "returned"]
    )
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    weights = {"books": -1.2, "electronics": 0.1, "fashion": 1.0, "garden": -0.3}
    for _ in range(rows):
        moment += timedelta(minutes=rng.expovariate(1 / 90))
        category = rng.choice(sorted(weights))
        price = round(math.exp(rng.gauss(3.4, 0.7)), 2)
        items = 1 + min(9, int(rng.expovariate(0.8)))
        discount = round(rng.choice([0, 0, 0, 0.1, 0.2, 0.3]), 1)
        days = "" if rng.random() < 0.2 else int(rng.expovariate(1 / 40))
        score = weights[category] + 0.012 * price - 0.25 * items + 2.0 * discount - 1.2
        returned = "yes" if rng.random() < 1 / (1 + math.exp(-score)) else "no"
        customer = f"c{rng.randrange(rows // 4):05d}"
        writer.writerow(
            [f"{moment:%Y-%m-%dT%H:%M:%SZ}", customer, category, price, items, discount, days, returned]
        )
    return text.getvalue()
