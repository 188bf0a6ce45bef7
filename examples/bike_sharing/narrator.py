"""Prints what happens, as it happens: a progress line with dates, and each event of the loop."""

from __future__ import annotations

import sys
from typing import Any

from processes import Up
from replay import Replay

TOLD = {
    "signal.raised": "alarm",
    "incident.opened": "incident",
    "incident.resolved": "resolved",
    "retraining.started": "retraining",
    "candidate.ready": "candidate",
    "candidate.refused": "refused",
    "rollout.started": "rollout",
    "rollout.promoted": "promoted",
    "rollout.aborted": "aborted",
    "rollout.undecided": "undecided",
}


class Narrator:
    """Follows the control plane's events of one model."""

    def __init__(self, up: Up, model: str) -> None:
        self._up = up
        self._model = model
        self._after = 0
        self.story: list[dict[str, Any]] = []

    def tell(self, replay: Replay) -> None:
        """Print the events since the last call, then the date the replay has come to."""
        for event in self._new_events():
            facts = event["facts"]
            text = (
                facts.get("sentence")
                or facts.get("title")
                or facts.get("because")
                or facts.get("why")
                or event["subject"]
            )
            at = str(facts.get("model_time") or facts.get("decided_at") or facts.get("at") or replay.at)[:10]
            self.story.append({"at": at, "kind": TOLD[event["kind"]], "text": text})
            self._clear()
            print(f"  {at}  {TOLD[event['kind']]:10} {text}", flush=True)
        if sys.stdout.isatty() and replay.at is not None:
            print(f"\r  {replay.at:%Y-%m-%d}  {replay.tally.answered} predictions", end="", flush=True)

    def _clear(self) -> None:
        if sys.stdout.isatty():
            print("\r\033[K", end="")

    def _new_events(self) -> list[dict[str, Any]]:
        answer = self._up.get(f"/api/v1/events?after={self._after}&limit=200&stream=false")
        events = answer["items"]
        if events:
            self._after = events[-1]["number"]
        return [e for e in events if e["kind"] in TOLD and e["facts"].get("model") == self._model]
