"""Numbers of several workers, added up, also over the death of one."""

from __future__ import annotations

from pathlib import Path

from flyball.serving.metrics import SLOT_COUNT, WorkerMetrics, render


def lines(folder: Path) -> list[str]:
    return [line for line in render(folder).decode().splitlines() if not line.startswith("#")]


def test_one_scrape_covers_all_workers(tmp_path: Path):
    for slot in range(3):
        metrics = WorkerMetrics(tmp_path, slot)
        metrics.value("flyball_outcomes_total", model="bike").add(slot + 1)
    assert 'flyball_outcomes_total{model="bike"} 6' in lines(tmp_path)


def test_a_worker_started_again_goes_on_from_the_numbers_of_the_one_before(tmp_path: Path):
    WorkerMetrics(tmp_path, 0).value("flyball_outcomes_total", model="bike").add(5)
    WorkerMetrics(tmp_path, 0).value("flyball_outcomes_total", model="bike").add()
    assert 'flyball_outcomes_total{model="bike"} 6' in lines(tmp_path)


def test_buckets_are_cumulative_and_end_with_all(tmp_path: Path):
    histogram = WorkerMetrics(tmp_path, 0).histogram(
        "flyball_prediction_seconds", model="bike", role="champion"
    )
    for seconds in (0.0001, 0.004, 0.004, 60.0):
        histogram.observe(seconds)
    text = lines(tmp_path)
    labels = 'model="bike",role="champion"'
    assert f'flyball_prediction_seconds_bucket{{{labels},le="0.0005"}} 1' in text
    assert f'flyball_prediction_seconds_bucket{{{labels},le="0.005"}} 3' in text
    assert f'flyball_prediction_seconds_bucket{{{labels},le="10"}} 3' in text
    assert f'flyball_prediction_seconds_bucket{{{labels},le="+Inf"}} 4' in text
    assert f"flyball_prediction_seconds_count{{{labels}}} 4" in text


def test_a_label_can_not_break_out_of_its_quotes(tmp_path: Path):
    WorkerMetrics(tmp_path, 0).value("flyball_outcomes_total", model='a"} 7\nx').add()
    assert lines(tmp_path)[0] == 'flyball_outcomes_total{model="a\\"} 7\\nx"} 1'


def test_without_room_for_further_series_the_server_goes_on_and_says_so(tmp_path: Path):
    metrics = WorkerMetrics(tmp_path, 0)
    for number in range(SLOT_COUNT + 10):
        metrics.value("flyball_outcomes_total", model=f"m{number}").add()
    assert "flyball_metrics_full 1" in lines(tmp_path)
    metrics.value("flyball_outcomes_total", model="x" * 500).add()
    assert not [line for line in lines(tmp_path) if "xxx" in line]
