"""The score of a project: each item's points, each section's sum, and the least of the four."""

from __future__ import annotations

import msgspec

from flyball.operations.opening import Backends
from flyball.operations.rubric.facts import Facts, read_facts
from flyball.operations.rubric.items import SECTIONS, Item
from flyball.pipelines.project_file import ProjectFile

SOURCE = (
    "Breck, Cai, Nielsen, Salib, Sculley (2017), The ML Test Score: A Rubric for ML Production Readiness and Technical "
    "Debt Reduction, IEEE Big Data"
)
# The paper's reading of a score: up to and including each bound.
_READINGS = (
    (0.0, "more of a research project than a system in production"),
    (1.0, "not wholly untested; expect serious holes in reliability"),
    (2.0, "a first pass at production; more work may be needed"),
    (3.0, "reasonably tested; more of it could be automated"),
    (5.0, "strongly tested and monitored by automation, fit for what is critical"),
    (7.0, "exceptionally well tested and monitored"),
)


class ScoredItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item's points with the fact they rest on; `next`: what to write for more, None at the most it can have."""

    id: str
    title: str
    points: float
    most: float
    fact: str
    next: str | None = None


class ScoredSection(msgspec.Struct, frozen=True, kw_only=True):
    """A section's items, and their sum."""

    name: str
    points: float
    items: list[ScoredItem]


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The ML Test Score: the least of its sections' points, 0 to 7.

    version: whose evidence was looked at; None where none was accepted. judged: which one that is.
    """

    model: str
    version: str | None
    judged: str
    score: float
    reading: str
    sections: list[ScoredSection]
    source: str = SOURCE


def score_project(backends: Backends, file: ProjectFile) -> Score:
    """The score of a project and its home as they are; nothing is run."""
    return score_facts(read_facts(backends.database, file))


def score_facts(facts: Facts) -> Score:
    """The score that facts give."""
    sections = []
    for name, items in SECTIONS.items():
        scored = [_scored(item, facts) for item in items]
        sections.append(ScoredSection(name=name, points=sum(item.points for item in scored), items=scored))
    least = min(section.points for section in sections)
    reading = next(words for bound, words in _READINGS if least <= bound)
    return Score(
        model=facts.project.model.name,
        version=facts.version,
        judged=_judged(facts),
        score=least,
        reading=reading,
        sections=sections,
    )


def _judged(facts: Facts) -> str:
    if facts.version is None:
        return "no version, for none was accepted yet"
    which = "newest accepted version; none is champion" if facts.champion is None else "champion"
    return f"{facts.version}, the {which}"


def _scored(item: Item, facts: Facts) -> ScoredItem:
    points, fact, following = item.judge(facts)
    named, at = facts.documented.get(item.id), facts.at(f"rubric.{item.id}")
    if named is not None and not named.exists:
        fact = f"{fact}; {at} names {named.where}, which is not in the repository"
    elif named is not None and points < 0.5:
        # A document says that people do it: that is half a point, however much it says.
        points, fact = 0.5, f"{at}: by hand, as {named.where} says; {fact}"
    if points >= item.most:
        following = None
    elif following is None and points == 0.0:
        following = f'[rubric]\n{item.id} = "docs/…"   # where it says how people do it'
    return ScoredItem(id=item.id, title=item.title, points=points, most=item.most, fact=fact, next=following)
