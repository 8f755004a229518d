"""Results of a search."""

from __future__ import annotations

from collections.abc import Mapping
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
        family: of :class:`configs.tuning.Family`, or the import path of a user's estimator; or ``blend``.
        iterations: at which ``metric`` was best; the number for a final fit.
        metric: the best validation metric; None for a trial that failed, or was stopped, before its first report.
        seconds, cpu_seconds: wall seconds of the fit, and CPU seconds of its own thread times its threads.
        history: pairs of iterations and metric.
        reason: why it failed, was stopped, or finished before its last iteration.
        rows: number of the latest rows that it is fitted on; None: all that the search has, and then all that there
            are.
        members, weights: of a blend: its trials; the intercept and the weight of the log-odds of each.
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
    rows: int | None = None
    members: tuple[TrialResult, ...] = ()
    weights: tuple[float, ...] = ()

    @classmethod
    def from_dict(cls, recorded: Mapping[str, Any]) -> TrialResult:
        """The trial of a run's evidence, as :func:`dataclasses.asdict` made it."""
        members = tuple(cls.from_dict(each) for each in recorded.get("members", ()))
        return cls(**{**recorded, "members": members, "weights": tuple(recorded.get("weights", ()))})

    @property
    def parts(self) -> tuple[TrialResult, ...]:
        """What is fitted: the members of a blend, else the trial itself."""
        return self.members or (self,)

    @property
    def described(self) -> dict[str, Any]:
        """All that its fit needs, by name: ``params`` with ``iterations``; of a blend, those of each trial."""
        if not self.members:
            rows = {} if self.rows is None else {"rows": self.rows}
            return {**self.params, "iterations": self.iterations, **rows}
        found: dict[str, Any] = {"intercept": self.weights[0]}
        for member, weight in zip(self.members, self.weights[1:], strict=True):
            of_member = {"family": member.family, "weight": weight, **member.described}
            found |= {f"{member.trial}.{name}": value for name, value in of_member.items()}
        return found


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
