"""Results of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from configs.errors import HeadraceError

__all__ = ["Search", "SearchError", "Status", "TrialResult"]

Status = Literal["finished", "stopped early", "failed"]


class SearchError(HeadraceError, RuntimeError):
    """No trial has a metric; the message has the first failure."""


@dataclass(frozen=True)
class TrialResult:
    """One trial: its point, and the validation metric after each reported number of iterations.

    Attributes:
        trial: its number in the search.
        family: of :class:`configs.tuning.Family`, or the import path of a user's estimator.
        iterations: at which ``metric`` was best; the number for a final fit.
        metric: the best validation metric; None for a trial that failed, or was stopped, before its first report.
        seconds, cpu_seconds: wall seconds of the fit, and CPU seconds of its own thread times its threads.
        history: pairs of iterations and metric.
        reason: why it failed, was stopped, or finished before its last iteration.
    """

    trial: str
    family: str
    params: dict[str, Any]
    status: Status
    iterations: int
    metric: float | None
    seconds: float
    history: list[list[float]]
    cpu_seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Search:
    """All trials, best first (those without a metric last), and the best one's validation scores."""

    trials: list[TrialResult]
    validation_scores: np.ndarray

    @property
    def best(self) -> TrialResult:
        return self.trials[0]

    @property
    def metric(self) -> float:
        """The best trial's validation metric."""
        assert self.best.metric is not None
        return self.best.metric
