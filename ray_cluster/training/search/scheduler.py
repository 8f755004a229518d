"""The scheduler: ASHA decides after each report whether a trial goes on.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020; Optuna's implementation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.tuning import ONE_STEP, Family, Tuning

if TYPE_CHECKING:
    import optuna

__all__ = ["pruner", "report"]

#: Steps in the study are iterations in units of the family's grace, so that rounds, trees and epochs share the rungs.
_GRACE = 1_000_000


def pruner(tuning: Tuning) -> optuna.pruners.BasePruner:
    """ASHA with rungs at the grace of each family, and ``reduction_factor`` times that, and so on."""
    import optuna

    return optuna.pruners.SuccessiveHalvingPruner(min_resource=_GRACE, reduction_factor=tuning.reduction_factor)


def report(tuning: Tuning, family: Family, trial: optuna.Trial, iterations: int, metric: float) -> bool:
    """Put a report on record; True where the trial is to be stopped.

    A trial of a family without iterations is on no rung: a finished fit would be compared with half-done ones.
    """
    if family.family in ONE_STEP:
        return False
    trial.report(metric, iterations * _GRACE // tuning.grace(family))
    return trial.should_prune() and iterations < family.iterations
