"""A report in the making: what the stages of a check have found so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyball.backends.workflows.engine import WorkflowEngine
from flyball.core.values import Actor
from flyball.operations.ci.git import GitFacts
from flyball.operations.ci.report import Annotation, Stage, StageOutcome
from flyball.operations.opening import Backends
from flyball.pipelines.project_file import ProjectFile
from flyball.pipelines.strangers import told_of_network
from flyball.pipelines.workshop import Workshop

Progress = Callable[[str], None]
MOST_REASONS = 5  # of one stage that are told with the verdict


@dataclass
class Draft:
    """A report in the making. `facts`: fields of `CiReport` that are known by now; `is_kept`: the home outlives it.

    `is_closed`: the project's code has no network.
    """

    path: Path
    git: GitFacts
    on_line: Progress
    stages: list[Stage] = field(default_factory=list)
    because: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    is_kept: bool = True
    is_closed: bool = False

    @property
    def root(self) -> Path:
        """The folder that annotations name files below."""
        return self.git.root or self.path.parent

    def end(
        self,
        name: str,
        outcome: StageOutcome,
        because: str | Sequence[str],
        began: float,
        cached: bool = False,
    ) -> None:
        """Note a stage that began at this moment of the monotonic clock and ends now, for one reason or several."""
        reasons = [because] if isinstance(because, str) else list(because)
        if self.is_closed and outcome in ("fail", "broken"):
            reasons = [told_of_network(reason) for reason in reasons]
        because = "; ".join(reasons)
        seconds = round(time.monotonic() - began, 3)
        self.stages.append(Stage(name=name, outcome=outcome, because=because, seconds=seconds, cached=cached))
        self.on_line(f"{name}: {outcome} ({because.splitlines()[0] if because else ''})")
        if outcome not in ("pass", "skipped"):
            more = len(reasons) - MOST_REASONS
            self.because += [*reasons[:MOST_REASONS], *([f"{name}: and {more} more"] if more > 0 else [])]

    def warn(self, sentence: str) -> None:
        """Keep a warning once."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)


@dataclass(frozen=True)
class Check:
    """A check whose runs can be made: its report, the stores, what makes runs in them, the project, and for whom."""

    draft: Draft
    backends: Backends
    engine: WorkflowEngine
    shop: Workshop
    file: ProjectFile
    actor: Actor
