"""The budget of a search: what is spent, and whether anything may still be begun or go on."""

from __future__ import annotations

from dataclasses import dataclass

from configs.errors import HeadraceError
from configs.tuning import Budget, Prices, Tuning

__all__ = ["BudgetError", "Spending", "check_budget"]


class BudgetError(HeadraceError, ValueError):
    """A budget that cannot be counted; one sentence."""


@dataclass
class Spending:
    """What a search has spent so far.

    Attributes:
        trials: begun.
        seconds: wall seconds of the search, those before it was cut off included.
        trial_seconds: the sum of the trials' own.
    """

    tuning: Tuning
    prices: Prices
    trials: int = 0
    seconds: float = 0.0
    trial_seconds: float = 0.0

    @property
    def cost(self) -> float:
        """Price of the CPUs and GPUs that the trials held for so long."""
        hours = self.trial_seconds / 3600
        by_cpu = hours * self.tuning.cpus_per_trial * self.prices.cpu_hour
        return by_cpu + hours * self.tuning.gpus_per_trial * self.prices.gpu_hour

    @property
    def over(self) -> str:
        """Which limit in time or money is reached, in words; empty while none is. Whatever runs is stopped then."""
        budget = self.tuning.budget
        if budget.seconds is not None and self.seconds >= budget.seconds:
            return f"the budget of {budget.seconds:g} seconds was spent"
        if budget.cost is not None and self.cost >= budget.cost:
            return f"the budget of {budget.cost:g} was spent"
        return ""

    @property
    def may_begin(self) -> bool:
        """Whether one more trial may begin."""
        return not self.over and (self.tuning.budget.trials is None or self.trials < self.tuning.budget.trials)


def check_budget(budget: Budget, prices: Prices, tuning: Tuning, model: str) -> None:
    """See that a budget in money can be counted.

    Raises:
        BudgetError: what the trials hold costs nothing.
    """
    by_hour = tuning.cpus_per_trial * prices.cpu_hour + tuning.gpus_per_trial * prices.gpu_hour
    if budget.cost is not None and by_hour == 0:
        raise BudgetError(
            f"Model '{model}', tuning.budget.cost = {budget.cost:g}: an hour of a trial costs nothing; set "
            "prices.cpu_hour in the settings, or give the budget in trials or seconds."
        )
