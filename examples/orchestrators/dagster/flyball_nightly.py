"""Dagster: judge a model's closed windows every night, and train a candidate in the nights in which a check alarms.

A run that Dagster starts again after a failure has an id of its own and names the one it repeats; that first id is the
key, so what was done is not done again. (No `from __future__ import annotations`: Dagster looks at the annotations.)
"""

import subprocess

import dagster as dg

MODEL = "credit-default"
NOTHING_FOUND, ALARM, TOO_FEW_ROWS = 0, 1, 4


def flyball(context: dg.OpExecutionContext, *command: str) -> int:
    """The exit code of a command; a verdict is an answer, and anything else is worth another try."""
    key = context.run.root_run_id or context.run_id
    code = subprocess.run(["flyball", *command, "--wait", "--key", key], check=False).returncode
    if code not in (NOTHING_FOUND, ALARM, TOO_FEW_ROWS):
        raise dg.Failure(f"flyball {command[0]} ended with {code}", allow_retries=code == 3)
    return code


@dg.op(
    out={"alarm": dg.Out(dg.Nothing, is_required=False)},
    retry_policy=dg.RetryPolicy(max_retries=3, delay=300),
)
def monitor(context: dg.OpExecutionContext):
    """Goes on to `retrain` only where a check alarms."""
    if flyball(context, "monitor", MODEL) == ALARM:
        yield dg.Output(None, "alarm")


@dg.op(ins={"alarm": dg.In(dg.Nothing)}, retry_policy=dg.RetryPolicy(max_retries=3, delay=300))
def retrain(context: dg.OpExecutionContext) -> None:
    """Ends with the candidate's verdict; a refused candidate is a failure that nobody repeats."""
    if flyball(context, "retrain", MODEL, "--timeout", "6h") != 0:
        raise dg.Failure(f"the candidate of {MODEL} did not pass its gates", allow_retries=False)


@dg.job
def nightly() -> None:
    """One night of one model."""
    retrain(monitor())


defs = dg.Definitions(
    jobs=[nightly], schedules=[dg.ScheduleDefinition(job=nightly, cron_schedule="0 3 * * *")]
)
