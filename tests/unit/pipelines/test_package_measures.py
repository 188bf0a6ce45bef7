from __future__ import annotations

import pytest
from scipy.stats import binom

from flyball.pipelines.children.package_measures import _binomial_quantile, _p99_interval


@pytest.mark.parametrize("count", [50, 400, 999, 1000])
@pytest.mark.parametrize("share", [0.025, 0.975])
def test_quantiles_of_exceedances_are_binomial(count: int, share: float):
    assert _binomial_quantile(count, share) == int(binom.ppf(share, count, 0.01))


def test_too_few_calls_do_not_bound_the_99th_percentile():
    assert _p99_interval([float(n) for n in range(100)]) is None


def test_the_interval_holds_the_true_percentile_as_often_as_it_says():
    import numpy as np

    rng = np.random.default_rng(1)
    truth, held, repeats = float(np.quantile(np.arange(1_000_000) / 1e6, 0.99)), 0, 2000
    for _ in range(repeats):
        interval = _p99_interval(sorted(rng.random(1000).tolist()))
        assert interval is not None
        held += interval.low <= truth <= interval.high
    # 95 % or a little more, since ranks are whole; the Monte Carlo error of 2,000 repeats is 0.5 %.
    assert 0.935 <= held / repeats <= 0.985
