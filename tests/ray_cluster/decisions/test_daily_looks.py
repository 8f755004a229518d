"""The boundary of daily looks, beside simulation and Student's t."""

import numpy as np
import pytest
from scipy import stats

from ray_cluster.decisions.daily_looks import LOOKS, weekly_quantile


@pytest.mark.parametrize(("days", "freedom", "level"), [(1, 40, 0.05), (7, 22, 0.035), (30, 7, 0.01)])
def test_a_week_of_looks_exceeds_it_as_often_as_intended(days: int, freedom: int, level: float) -> None:
    random = np.random.default_rng(4)
    values = random.normal(size=(30_000, days + LOOKS - 1))
    looks = np.stack([values[:, first : first + days].mean(axis=1) for first in range(LOOKS)])
    errors = np.sqrt(random.chisquare(freedom, 30_000) / freedom / days)
    found = np.mean(looks.max(axis=0) > weekly_quantile(level, freedom, days) * errors)
    assert found == pytest.approx(level, rel=0.12)


@pytest.mark.parametrize("days", [1, 7, 90])
@pytest.mark.parametrize("freedom", [1.5, 11, 500])
@pytest.mark.parametrize("level", [1e-6, 0.0005, 0.05, 0.4])
def test_it_is_between_one_look_and_bonferroni(days: int, freedom: float, level: float) -> None:
    alone, shared = stats.t.ppf(1 - level, freedom), stats.t.ppf(1 - level / LOOKS, freedom)
    assert alone <= weekly_quantile(level, freedom, days) <= shared
