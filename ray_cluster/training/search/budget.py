"""The budget of a search: it counts the spending and ends the search."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ray.tune import Stopper

from configs.errors import HeadraceError
from configs.tuning import Prices, Tuning
from feature_repo.storage.files import read_json, write_json

__all__ = ["BudgetError", "BudgetStopper"]

#: Trials that may fail before the first metric: trials that fail at once spend no money and little time.
_FAILURES = 20


class BudgetError(HeadraceError, ValueError):
    """A budget cannot be counted; the message is one sentence."""


class BudgetStopper(Stopper):  # type: ignore[misc]
    """End Tune's experiment at the first report after its seconds or its cost are spent, or if every trial fails.

    The spending is stored in a file, because Tune restores a stopper in its initial state.

    Attributes:
        seconds: wall seconds of the search, including those before an interruption.
        held: trial -> the seconds of its fit.
    """

    def __init__(self, tuning: Tuning, prices: Prices, model: str, kept: Path) -> None:
        """Check that the budget can be counted; the spending is stored in ``kept``.

        Raises:
            BudgetError: it is in money, and the trials' resources cost nothing.
        """
        self.tuning, self.kept = tuning, kept
        self.hour = tuning.cpus_per_trial * prices.cpu_hour + tuning.gpus_per_trial * prices.gpu_hour
        if tuning.budget.cost is not None and self.hour == 0:
            raise BudgetError(
                f"Model '{model}', tuning.budget.cost = {tuning.budget.cost:g}: an hour of a trial costs nothing; set "
                "prices.cpu_hour in the settings, or give the budget in trials or seconds."
            )
        self.failed, self.scored = set[str](), False
        self.seconds, self.held, self._clock, self._written = 0.0, dict[str, float](), 0.0, 0.0

    @property
    def cost(self) -> float:
        """Cost of the trials' CPUs and GPUs so far."""
        return sum(self.held.values()) / 3600 * self.hour

    @property
    def over(self) -> str:
        """The limit in time or money that is reached, in words; empty if none is."""
        budget = self.tuning.budget
        if budget.seconds is not None and self.seconds >= budget.seconds:
            return f"the budget of {budget.seconds:g} seconds was spent"
        if budget.cost is not None and self.cost >= budget.cost:
            return f"the budget of {budget.cost:g} was spent"
        return ""

    @property
    def hopeless(self) -> bool:
        """Whether many trials have failed, and none has a metric."""
        return not self.scored and len(self.failed) >= _FAILURES

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Count a report; it is never a reason to stop its trial alone."""
        self.held[trial_id] = result["trial_seconds"]
        if "failure" in result:
            self.failed.add(trial_id)
        else:
            self.scored = True
        return False

    def stop_all(self) -> bool:
        """Whether the search ends now."""
        now = time.monotonic()
        if not self._clock:
            self.recall()
        self.seconds += now - (self._clock or now)
        self._clock, ends = now, bool(self.over and self.held) or self.hopeless
        if ends or now - self._written > 1:
            write_json(self.kept, {"seconds": self.seconds, "held": self.held})
            self._written = now
        return ends

    def recall(self) -> None:
        """Read the previous spending from the file."""
        vars(self).update(read_json(self.kept) or {})
