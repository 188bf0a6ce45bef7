"""Rules of [rubric]: which tests of the ML Test Score there are, and that each names a document."""

from __future__ import annotations

from collections.abc import Iterator

from flyball.core.project import Project
from flyball.pipelines.faults import fault
from flyball.pipelines.shape import Fault, nearest

SECTIONS = ("data", "model", "infrastructure", "monitoring")
ITEMS = tuple(f"{section}-{number}" for section in SECTIONS for number in range(1, 8))


def rubric_rules(project: Project) -> Iterator[Fault]:
    """Names of no test, and names without a document."""
    for name, where in project.rubric.items():
        if name not in ITEMS:
            yield Fault(
                path=("rubric", name),
                problem="is no test of the rubric",
                expected=f"one of {ITEMS[0]} to {ITEMS[-1]}",
                nearest=nearest(name, ITEMS),
            )
        elif not where.strip():
            yield fault(
                "is empty", "rubric", name, expected="a file of the repository, or the address of a page"
            )
