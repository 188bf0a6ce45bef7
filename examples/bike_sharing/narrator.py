"""Prints what happens, as it happens: a progress line with dates, and each event of the loop."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import Any, TextIO

from processes import Up
from replay import Replay
from telling import TOLD, Telling

WIDEST = 120


class Screen:
    """Lines on a stream; on a terminal they are wrapped, and the last line tells how far the replay has come."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._is_terminal = self._stream.isatty()

    def say(self, line: str, *, indent: int = 0) -> None:
        """Print a line; what does not fit is continued below, `indent` columns in."""
        if self._is_terminal:
            width = min(shutil.get_terminal_size().columns, WIDEST)
            line = textwrap.fill(
                line,
                max(width, indent + 20),
                subsequent_indent=" " * indent,
                break_on_hyphens=False,
                replace_whitespace=False,
                drop_whitespace=True,
            )
            self._stream.write("\r\033[K")
        print(line, file=self._stream, flush=True)

    def show_progress(self, line: str) -> None:
        """Replace the last line of a terminal; elsewhere nothing is said."""
        if self._is_terminal:
            print(f"\r\033[K{line}", end="", file=self._stream, flush=True)


class Narrator:
    """Follows the control plane's events of one model. `story` holds every one of them, told or not."""

    def __init__(self, up: Up, model: str, screen: Screen) -> None:
        self._up = up
        self._model = model
        self._screen = screen
        self._telling = Telling()
        self._after = 0
        self.story: list[dict[str, Any]] = []

    def tell(self, replay: Replay) -> None:
        """Print the events since the last call, then the date the replay has come to."""
        for entry in self._telling.tell(self._new_events(), now=str(replay.at)):
            self.story.append(entry)
            if entry["told"] is not None:
                start = f"  {entry['at']}  {entry['kind']:10} "
                self._screen.say(start + entry["told"], indent=len(start))
        if replay.at is not None:
            self._screen.show_progress(f"  {replay.at:%Y-%m-%d}  {replay.tally.answered} predictions so far")

    def _new_events(self) -> list[dict[str, Any]]:
        found = []
        while events := self._up.get(f"/api/v1/events?after={self._after}&limit=200&stream=false")["items"]:
            self._after = events[-1]["number"]
            found += [e for e in events if e["kind"] in TOLD and e["facts"].get("model") == self._model]
        for event in found:
            if event["kind"] == "rollout.promoted":
                event["facts"]["guards"] = self._guards(event["facts"]["rollout_id"])
        return found

    def _guards(self, rollout_id: str) -> list[dict[str, Any]]:
        """What a promotion was decided on."""
        rollouts = self._up.items("rollouts", self._model)
        evidence = next(rollout["evidence"] for rollout in rollouts if rollout["id"] == rollout_id)
        guards: list[dict[str, Any]] = evidence.get("guards", [])
        return guards
