"""The scheduler, by its name in a model's file: it decides whether a trial continues after a report.

Its time is :data:`RUNG`: iterations in units of the family's grace, so that rounds, trees and epochs share the rungs,
and at the pace of the trial's learning rate, so that slow learners are compared after as much progress. A family
without iterations reports no rung: a finished fit would be compared with half-done ones.
"""

from __future__ import annotations

import math
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, HyperBandScheduler, MedianStoppingRule, TrialScheduler

from configs.tuning import Tuning
from ray_cluster.training.search.trainable import RUNG

__all__ = ["scheduler"]


def scheduler(tuning: Tuning) -> TrialScheduler:
    """Tune's scheduler for ``tuning``."""
    common: dict[str, Any] = {"time_attr": RUNG, "metric": tuning.metric, "mode": "max"}
    common |= tuning.scheduler.model_dump(exclude={"name"})
    longest = max(math.ceil(family.iterations / tuning.grace(family)) for family in tuning.families)
    match tuning.scheduler.name:
        case "asha":
            return Asha(max_t=longest + 1, reduction_factor=tuning.reduction_factor, **common)
        case "hyperband":
            return HyperBand(max_t=longest, reduction_factor=tuning.reduction_factor, stop_last_trials=False, **common)
        case "median":
            return Median(grace_period=1, **common)
    return FIFOScheduler()  # type: ignore[no-untyped-call]


class Asha(ASHAScheduler):
    """ASHA. Tune restores trials, not the scheduler: a restored trial reports its earlier results again."""

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(tune_controller, trial)
        for rung, value in trial.last_result.get("rungs", ()):
            self.on_trial_result(tune_controller, trial, {RUNG: rung, self.metric: value})


class Median(MedianStoppingRule):
    """The median stopping rule; a trial without a rung is ignored."""

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        if RUNG in result:
            super().on_trial_complete(tune_controller, trial, result)


class HyperBand(HyperBandScheduler):
    """HyperBand; a waiting trial that it stops is done, and a trial that ended before a restore is ignored."""

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        if not trial.is_finished():  # type: ignore[no-untyped-call]
            super().on_trial_add(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        trial.last_result["done"] = True
        super().on_trial_remove(tune_controller, trial)
