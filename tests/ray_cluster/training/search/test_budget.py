"""What a search has spent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_cluster.training.search.budget import BudgetError, BudgetStopper
from tests.ray_cluster.training.search.problem import settings_at, spec_of


@settings(deadline=None)
@given(st.floats(0, 1e5), st.floats(0.1, 64), st.floats(0, 8), st.floats(0, 10), st.floats(0, 10))
def test_cost_is_the_hours_that_trials_held_at_their_prices(
    seconds: float, cpus: float, gpus: float, cpu_hour: float, gpu_hour: float
) -> None:
    prices = settings_at(Path("/")).prices.model_copy(update={"cpu_hour": cpu_hour, "gpu_hour": gpu_hour})
    tuning = spec_of({"cost": 1.0}, cpus_per_trial=cpus, gpus_per_trial=gpus).tuning
    if cpus * cpu_hour + gpus * gpu_hour == 0:
        with pytest.raises(BudgetError, match=r"costs nothing; set prices\.cpu_hour"):
            BudgetStopper(tuning, prices, "m", Path("spent.json"))
        return
    budget = BudgetStopper(tuning, prices, "m", Path("spent.json"))
    budget.held = {"one": seconds / 4, "other": seconds * 3 / 4}
    assert budget.cost == pytest.approx(seconds / 3600 * (cpus * cpu_hour + gpus * gpu_hour))
    assert bool(budget.over) == (budget.cost >= 1)
