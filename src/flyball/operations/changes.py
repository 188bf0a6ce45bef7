"""The verbs that change something, each in one transaction with its audit entry; and those that ask a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyball.core.errors import BadInput
from flyball.core.refs import parse_ref
from flyball.operations.opening import Backends
from flyball.operations.readings import Readings

if TYPE_CHECKING:
    from flyball.core.values import Actor


class Changes(Readings):
    """All verbs of one home. serve_url: of the model server to ask, when it is not the one running on this home."""

    def __init__(self, backends: Backends, serve_url: str | None = None) -> None:
        super().__init__(backends)
        self._serve_url = serve_url

    @property
    def serve_url(self) -> str:
        """Address of the model server: as given, else that of the one running on this home. Raises NotFound."""
        if self._serve_url:
            return self._serve_url
        from flyball.operations.asking import find_server

        return find_server(self.settings.home)

    def run(
        self,
        folder: Path,
        *,
        sets: Sequence[str] = (),
        why: str = "",
        actor: Actor | None = None,
        on_line: Callable[[str], None] | None = None,
        key: str | None = None,
    ) -> Any:
        """Run the pipeline of a project folder to its end. Takes up abandoned runs of the home first.

        key: asked for again under it, the run that it made is the result. Raises KeyInUse if that was something else.
        """
        from flyball.operations.running import run_project

        person = _person(actor)
        return run_project(self.backends, folder, sets=sets, why=why, actor=person, on_line=on_line, key=key)

    def cancel_run(self, run_id: str, *, why: str, actor: Actor | None = None) -> Any:
        """End a run that goes on, in whatever process. Raises RunNotFound, and Conflict for one that has ended."""
        from flyball.operations.running import cancel

        return cancel(self.backends, run_id, why=why, actor=_person(actor))

    def deploy(
        self, ref: str, *, why: str = "", strategy: str | None = None, actor: Actor | None = None
    ) -> Any:
        """Start a rollout of a version; the newest registered one when the reference names none."""
        from flyball.operations.deploying import deploy

        return deploy(self.backends, parse_ref(ref), why=why, strategy=strategy, actor=_person(actor))

    def plan(self, files: Sequence[Path], *, take_back: bool = False) -> Any:
        """What `apply` of deployments files would change now, and why. Writes nothing."""
        from flyball.operations.planning.plan import plan

        return plan(self.backends, files, take_back=take_back)

    def apply(
        self,
        files: Sequence[Path],
        *,
        why: str = "",
        take_back: bool = False,
        on_plan: Callable[[Any], None] | None = None,
        actor: Actor | None = None,
    ) -> Any:
        """Do what deployments files want, model by model; told first by `on_plan`."""
        from flyball.operations.planning.applying import apply

        return apply(
            self.backends, files, why=why, take_back=take_back, actor=_person(actor), on_plan=on_plan
        )

    def propose(self, files: Sequence[Path], *, model: str | None = None, only_print: bool = False) -> Any:
        """Open a change request for each retrained candidate that waits for one in these deployments files."""
        from flyball.operations.ci.proposing import propose

        return propose(self.backends, files, os.environ, model=model, only_print=only_print)

    def decide_rollout(self, model: str, decision: str, *, why: str, actor: Actor | None = None) -> Any:
        """Pause, resume, promote or abort the running rollout by a person's decision."""
        from flyball.data.model_time import find_model_time
        from flyball.delivery import control
        from flyball.operations.deploying import promote

        if decision == "promote":
            return promote(self.backends, model, why=why, actor=_person(actor))
        verbs = {"pause": control.pause, "resume": control.resume, "abort": control.abort}
        if decision not in verbs:
            words = ", ".join([*verbs, "promote"])
            raise BadInput(f"{decision!r} is no decision on a rollout; one of {words}", decision=decision)
        now = self.backends.clock.now()
        with self.backends.database.write() as conn:
            moment = find_model_time(conn, model, now)
            decided = verbs[decision](conn, model, actor=_person(actor), why=why, now=now, model_time=moment)
        self._publish()
        return decided

    def rollback(self, model: str, *, to: str | None, why: str, actor: Actor | None = None) -> dict[str, Any]:
        """Put the champion before (or version `to`) back into service at once.

        `next_target` in the answer: where another rollback would go, None for nowhere. A version that was rolled back
        from is gone to only when it is named.
        """
        from flyball.operations.deploying import rollback

        number = None if to is None else self.resolve(parse_ref(f"{model}@{to}")).number
        done = rollback(self.backends, model, to=number, why=why, actor=_person(actor))
        return {
            "model": model,
            "champion": done.to_number,
            "was": done.from_number,
            "revision": done.revision,
            "next_target": self.rollback_target(model),
        }

    def approve(self, ref: str, *, why: str, actor: Actor | None = None) -> dict[str, Any]:
        """A person's yes about a version. Raises OwnApproval for its author."""
        from flyball.operations.approving import answer

        return answer(self.backends, parse_ref(ref), approves=True, why=why, actor=_person(actor))

    def reject(self, ref: str, *, why: str, actor: Actor | None = None) -> dict[str, Any]:
        """A person's no about a version."""
        from flyball.operations.approving import answer

        return answer(self.backends, parse_ref(ref), approves=False, why=why, actor=_person(actor))

    def predict(self, model: str, rows: str, *, url: str | None = None) -> dict[str, Any]:
        """Ask the model server; `rows` is JSON text, a file or `-`."""
        from flyball.operations.asking import predict

        return predict(url or self.serve_url, model, rows)

    def add_outcomes(self, model: str, file: Path, *, url: str | None = None) -> dict[str, Any]:
        """Send outcomes from a table to the model server."""
        from flyball.operations.asking import add_outcomes

        return add_outcomes(url or self.serve_url, model, str(file))

    def replay(self, prediction_id: str) -> dict[str, Any]:
        """The same input through the same version again, in a child process, compared with the logged answer."""
        from flyball.operations.replaying import replay

        return replay(self.backends, prediction_id)

    def monitor(self, model: str | None = None) -> list[dict[str, Any]]:
        """Analyse what is due (unless a controller does) and tell the state of every check."""
        from flyball.operations.monitoring import check_now

        return check_now(self.backends, model, _person(None))

    def check_and_wait(
        self, model: str | None = None, *, key: str | None = None, timeout_seconds: float = 600.0
    ) -> list[dict[str, Any]]:
        """The state of every check once all windows closed by now are judged; for a key the same answer again."""
        from flyball.operations.monitoring import check_and_wait

        return check_and_wait(
            self.backends, model, actor=_person(None), key=key, timeout_seconds=timeout_seconds
        )

    def add_note(self, incident_id: str, text: str, *, actor: Actor | None = None) -> None:
        """Add a person's note to an incident's timeline."""
        from flyball.monitoring.incidents import add_note

        with self.backends.database.write() as conn:
            add_note(conn, incident_id, text, actor=_person(actor), now=self.backends.clock.now())

    def retrain(
        self,
        model: str,
        *,
        why: str,
        actor: Actor | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Ask for a retraining on the rows known by now; the controller carries it out.

        key: the retraining that was asked for under it before is the answer. Raises KeyInUse for one of another model.
        """
        from flyball.data.model_time import find_model_time
        from flyball.retraining.manual import retrain_now

        now = self.backends.clock.now()
        with self.backends.database.write() as conn:
            moment = find_model_time(conn, model, now) or now
            asked = retrain_now(
                conn, model, actor=_person(actor), why=why, now=now, model_time=moment, key=key
            )
        return {"retraining": asked.id, "state": asked.state, "because": asked.because}

    @contextmanager
    def turning(self, on_line: Callable[[str], None]) -> Iterator[Callable[[], None]]:
        """For whoever waits: a function that sees that somebody turns the loop, if need be this process until here."""
        from flyball.operations.standing_in import StandIn

        stand_in = StandIn(self.backends, on_line)
        try:
            yield stand_in.ensure
        finally:
            stand_in.close()

    def once(self, key: str, fingerprint: str, work: Callable[[], dict[str, Any]]) -> Any:
        """The answer of a change asked for under a key, and whether it was given before; see governance."""
        from flyball.governance.request_keys import once

        return once(self.backends.database, self.backends.clock, key, fingerprint, work)

    def _publish(self) -> None:
        from flyball.operations.publishing import publish_now

        publish_now(self.backends)


def _person(actor: Actor | None) -> Actor:
    """Who acts: the person who runs this process, unless a server names somebody it has recognised."""
    from flyball.governance.actors import local_actor

    return local_actor() if actor is None else actor
