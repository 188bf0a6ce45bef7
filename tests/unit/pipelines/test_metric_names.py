from __future__ import annotations

from flyball.judge.metrics import table
from flyball.pipelines.metric_names import METRICS


def test_the_metrics_of_a_task_are_those_that_judge_computes():
    named = {name: (set(m.tasks), m.better == "higher") for name, m in METRICS.items() if m.tasks}
    computed = {name: (set(m.tasks), m.larger_is_better) for name, m in table.METRICS.items()}
    assert named == computed
