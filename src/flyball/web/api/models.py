"""`/api/v1/models…`: models, versions, aliases, and how they do."""

from __future__ import annotations

from typing import Any

import msgspec

from flyball.operations.overview import ModelSummary, VersionSummary
from flyball.registry.aliases import AliasMove
from flyball.web.api.parameters import App, Cursor, InPath, Limit
from flyball.web.names import read_model, read_ref
from flyball.web.paging import Page, take_page


class Alias(msgspec.Struct, frozen=True):
    """A name for a version, and where it points."""

    name: str
    number: int


def list_models(flyball: App, limit: Limit = 50, cursor: Cursor = None) -> Page[ModelSummary]:
    """Models by name, each with its champion, candidate and open incidents."""
    return take_page(lambda count: flyball.list_models()[:count], lambda model: model.name, limit, cursor)


def get_model(flyball: App, model: InPath) -> ModelSummary:
    """One model."""
    return flyball.get_model(read_model(model))


def list_versions(
    flyball: App, model: InPath, limit: Limit = 50, cursor: Cursor = None
) -> Page[VersionSummary]:
    """Versions, newest first."""
    name = read_model(model)
    return take_page(
        lambda count: flyball.list_versions(name, count), lambda version: version.number, limit, cursor
    )


def show_version(flyball: App, model: InPath, ref: InPath) -> dict[str, Any]:
    """A version (number, digest prefix or alias) with evidence, gates, lineage and rollouts."""
    return flyball.show_version(read_ref(model, ref))


def history(flyball: App, model: InPath, limit: Limit = 50, cursor: Cursor = None) -> Page[AliasMove]:
    """Every move of an alias, newest first: which version was champion when, who moved it, and why."""
    name = read_model(model)
    moves = list(reversed(flyball.history(name)))
    return take_page(lambda count: moves[:count], lambda move: move.seq, limit, cursor)


def list_aliases(flyball: App, model: InPath) -> list[Alias]:
    """The names that point at versions of the model now."""
    name = read_model(model)
    aliases = [
        Alias(alias, version.number) for version in flyball.list_versions(name) for alias in version.aliases
    ]
    return sorted(aliases, key=lambda alias: alias.name)


def progress(flyball: App, model: InPath) -> dict[str, Any]:
    """How far the loop has come: model time, ingested records, the next decision, the revision in force."""
    return flyball.progress(read_model(model))


def series(flyball: App, model: InPath) -> dict[str, Any]:
    """The metric of each window beside its reference, and the events to mark on it, on model time."""
    return flyball.metric_series(read_model(model))


def drift(flyball: App, model: InPath) -> dict[str, Any]:
    """The drift score of each feature in each window."""
    return flyball.drift_series(read_model(model))


def checks(flyball: App, model: InPath) -> list[dict[str, Any]]:
    """The newest judged windows and the state of each."""
    return flyball.monitor(read_model(model))


def why(flyball: App, model: InPath) -> dict[str, Any]:
    """How the model stands and why, in a paragraph."""
    return flyball.why(read_model(model))
