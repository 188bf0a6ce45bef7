"""The durable workflow `run`: source → environment → prepare → train → evaluate → test → register.

Each step is recorded once it is done, so a run whose process was killed goes on, in whichever process takes it over,
after its last finished step. What a step gave for the same inputs before is used again. A project without model tests
has no step `test`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flyball.backends.workflows.engine import WorkflowContext, WorkflowEngine
from flyball.core.errors import FlyballError, WorkflowCancelled
from flyball.pipelines.request import read_request
from flyball.pipelines.stages.ending import fail_run
from flyball.pipelines.stages.evaluate import evaluate_model
from flyball.pipelines.stages.job import Given, Job, Made, make_step
from flyball.pipelines.stages.prepare import prepare_data
from flyball.pipelines.stages.register import register
from flyball.pipelines.stages.source import take_environment, take_source
from flyball.pipelines.stages.testing import check_features, has_tests, test_version
from flyball.pipelines.stages.train import train_model
from flyball.pipelines.workshop import Workshop

__all__ = ["Workshop", "register_run", "run_workflow"]

WORKFLOW = "run"


def register_run(engine: WorkflowEngine, shop: Workshop) -> None:
    """Let this process make runs, and take up those of processes that died. Before `engine.launch`."""
    engine.register(WORKFLOW, partial(run_workflow, shop))


def run_workflow(shop: Workshop, context: WorkflowContext, payload: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a run, which the runs table holds by then. Raises what a step raised, noted there before."""
    job = Job(shop, context.workflow_id, read_request(payload))

    given = Given()

    def step(name: str, work: Callable[[], Made]) -> dict[str, Any]:
        outputs: dict[str, Any] = context.step(name, lambda: make_step(job, name, work))
        return outputs

    try:
        given.source = step("source", lambda: take_source(job))
        given.environment = step("environment", lambda: take_environment(job))
        given.prepared = step("prepare", lambda: prepare_data(job))
        check_features(job, given)
        given.trained = step("train", lambda: train_model(job, given))
        given.evaluated = step("evaluate", lambda: evaluate_model(job, given))
        if has_tests(job, given):
            given.tests = step("test", lambda: test_version(job, given))["tests"]
        registered = step("register", lambda: register(job, given))
        job.bench.clear()
        return registered
    except WorkflowCancelled:
        raise
    except FlyballError as error:
        context.step("fail", fail_run, job, error.code, error.message, _plain(error.facts))
        raise


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(facts, enc_hook=str))
    return plain
