"""Airflow: judge a model's closed windows every night, and train a candidate in the nights in which a check alarms.

Airflow keeps the run id of a DAG run over all its retries, so that is the key. It reaches the commands by the
environment: a person may choose the run id of a manual run, and a shell must not read it as code.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

MODEL = "credit-default"
# 0: nothing found, so the rest of the night is skipped; 1: a check alarms, so it is not; 4: too few rows yet.
MONITOR = """
flyball monitor "$MODEL" --wait --key "$KEY"
case $? in 0|4) exit 99 ;; 1) exit 0 ;; *) exit 3 ;; esac
"""
RETRAIN = """
flyball retrain "$MODEL" --wait --key "$KEY" --timeout 6h
"""

with DAG(
    dag_id="flyball_nightly",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "env": {"MODEL": MODEL, "KEY": "{{ run_id }}"},
        "append_env": True,
        "do_xcom_push": False,
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
    },
) as dag:
    monitor = BashOperator(task_id="monitor", bash_command=MONITOR, skip_on_exit_code=99)
    retrain = BashOperator(task_id="retrain", bash_command=RETRAIN)
    monitor >> retrain
