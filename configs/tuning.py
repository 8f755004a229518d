"""The search of a model's file: model families, their search spaces, the scheduler and the budget."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictInt, field_validator, model_validator

from configs.reading import Frozen, nearest

__all__ = ["ONE_STEP", "Budget", "Family", "Prices", "Tuning"]

#: Families that are fitted in one step: they have no iterations for reports or stopping.
ONE_STEP = ("logistic_regression", "custom")

#: With fewer trials, none is stopped early by default.
_FEW = 16


class Prices(Frozen):
    """Price of an hour of one CPU and of one GPU, in one currency."""

    cpu_hour: float = Field(0.0, ge=0)
    gpu_hour: float = Field(0.0, ge=0)


class Budget(Frozen):
    """The end of the search: the limit that is reached first, over all families.

    ``trials``: number of trials. ``seconds``: of the search; running trials are stopped then. ``cost``: of the hours of
    CPU and GPU that the trials reserved, at the ``prices`` of the settings.
    """

    trials: int | None = Field(None, ge=1)
    seconds: float | None = Field(None, gt=0)
    cost: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _ends(self) -> Budget:
        if self.trials is None and self.seconds is None and self.cost is None:
            raise ValueError("the budget is empty; set trials, seconds or cost")
        return self


class Family(Frozen):
    """One model family and its search space, in the parameters of its scikit-learn class.

    A dimension is ``{low, high}`` (uniform), with ``log: true`` log-uniform, with ``integer: true`` whole
    numbers; or ``{choices: [...]}``; or a constant. ``class_weight`` (balanced, or a mapping) is a parameter of every
    family. ``iterations``: maximum of boosting rounds, trees or epochs. ``estimator``: for family custom, the import
    path of a scikit-learn classifier, ``package.module:Class``. ``report_every`` and ``grace_iterations`` override
    those of the search for a family with other iterations.
    """

    family: Literal["xgboost", "hist_gradient_boosting", "random_forest", "logistic_regression", "mlp", "custom"]
    estimator: str | None = None
    iterations: int = Field(1, ge=1)
    report_every: int | None = Field(None, ge=1)
    grace_iterations: int | None = Field(None, ge=1)
    space: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """The family in a trial: its name, or the estimator's import path."""
        return self.estimator or self.family

    @property
    def one_step(self) -> bool:
        """Whether it is fitted in one step."""
        return self.family in ONE_STEP

    @property
    def drawn(self) -> dict[str, dict[str, Any]]:
        """The dimensions of its space that are not constants."""
        drawn = {"choices", "low"}
        return {name: each for name, each in self.space.items() if isinstance(each, dict) and drawn & set(each)}

    def parameters(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters of the scikit-learn class for a trial at ``point``.

        A point has ``<family>.<name>`` for each drawn parameter, because families share names but not ranges; a choice,
        which may be a list, is JSON.
        """
        drawn = {name: point[f"{self.key}.{name}"] for name in self.drawn}
        chosen = {name: json.loads(drawn[name]) for name, each in self.drawn.items() if "choices" in each}
        return self.space | drawn | chosen

    def pace(self, params: Mapping[str, Any]) -> float:
        """Progress of an iteration at ``params``, from 0 to 1: its learning rate, relative to the highest of the space.

        Boosting with half of the learning rate needs about twice the rounds (J. Friedman, Greedy function
        approximation, Annals of Statistics 29, 2001), so after the same number of rounds the faster one leads.
        """
        rate = self.drawn.get("learning_rate")
        highest = max(rate["choices"]) if rate and "choices" in rate else rate and rate["high"]
        return float(params["learning_rate"] / highest) if highest else 1.0

    @field_validator("space")
    @classmethod
    def _dimensions(cls, space: dict[str, Any]) -> dict[str, Any]:
        for name, dimension in space.items():
            if isinstance(dimension, dict) and name != "class_weight":
                _check_dimension(name, dimension)
        return space

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Family:
        if (self.family == "custom") != (self.estimator is not None):
            raise ValueError(
                "family custom needs estimator: package.module:Class"
                if self.estimator is None
                else f"estimator = '{self.estimator}' is for family custom, not for {self.family}"
            )
        if self.estimator is not None and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", self.estimator):
            raise ValueError(f"estimator = '{self.estimator}'; expected package.module:Class")
        if self.one_step and self.iterations != 1:
            raise ValueError(f"{self.family} is fitted in one step; remove iterations = {self.iterations}")
        if not self.one_step and self.iterations < 2:
            raise ValueError(f"{self.family} is fitted step by step; set iterations to at least 2")
        return self


class RandomSearcher(Frozen):
    """Points drawn at random; the same seed gives the same points."""

    name: Literal["random"] = "random"


class TpeSearcher(Frozen):
    """Tree-structured Parzen estimator (Bergstra et al., NIPS 2011), which learns from previous trials.

    The options are those of Optuna's ``TPESampler``; the first ``n_startup_trials`` points are random, by default a
    third of ``budget.trials`` and at most 10.
    """

    name: Literal["tpe"]
    n_startup_trials: int | None = Field(None, ge=1)
    n_ei_candidates: int = Field(24, ge=1)
    multivariate: bool = False


class AshaScheduler(Frozen):
    """Asynchronous successive halving (Li et al., MLSys 2020), in ``brackets`` with increasingly late first rungs."""

    name: Literal["asha"] = "asha"
    brackets: int = Field(1, ge=1)


class HyperBandScheduler(Frozen):
    """HyperBand (Li et al., JMLR 2018): trials of a bracket wait for each other at each rung."""

    name: Literal["hyperband"]


class MedianScheduler(Frozen):
    """Median stopping rule (Golovin et al., KDD 2017), once ``min_samples_required`` trials have got as far."""

    name: Literal["median"]
    min_samples_required: int = Field(3, ge=1)


class NoScheduler(Frozen):
    """No trial is stopped early."""

    name: Literal["none"]


def _named(*known: str) -> BeforeValidator:
    """A name alone means its defaults."""

    def check(value: object) -> object:
        given = {"name": value} if isinstance(value, str) else value
        name = given.get("name") if isinstance(given, dict) else None
        if name not in known and not isinstance(value, Frozen):
            close = nearest(name, list(known)) if isinstance(name, str) else ""
            raise ValueError(f"expected {', '.join(known)}, or a mapping of such a name and its options.{close}")
        return given

    return BeforeValidator(check)


Searcher = Annotated[RandomSearcher | TpeSearcher, Field(discriminator="name"), _named("random", "tpe")]
Scheduler = Annotated[
    AshaScheduler | HyperBandScheduler | MedianScheduler | NoScheduler,
    Field(discriminator="name"),
    _named("asha", "hyperband", "median", "none"),
]


Rows = Annotated[StrictInt, Field(ge=1000)]


class Tuning(Frozen):
    """The search: families, number of the latest training rows, and Ray Tune's searcher and scheduler.

    ``rows``: the search is fitted on the latest of the training rows, the final fits on all. With a list of numbers,
    each trial draws one of them, and its final fits have as many rows, or all if it drew the largest.
    ``searcher`` (random, tpe) and ``scheduler`` (asha, hyperband, median, none) are a name, or a mapping of the name
    and its options; by default ASHA, or none for fewer than 16 trials, too few to compare them at several rungs. No
    scheduler stops a trial before ``grace_iterations``; the rungs of ASHA and HyperBand are there, at
    ``reduction_factor`` times that, and so on, and of the trials at a rung the best ``1 / reduction_factor`` continue.
    A trial is finished if its metric did not improve for ``patience`` iterations. Both numbers are those of the
    highest learning rate: a trial with half of it has twice as many.
    ``finalists``: number of the best trials that are fitted again on the earlier folds, if ``split.folds`` is above 1.
    ``blend``: the finalists together are one more finalist: with equal weights (``mean``), or with weights chosen on
    their scores on the folds (``stacked``, with ``split.folds`` above 1).
    ``monotone``: boosted trees obey the model's behavioural tests ``direction`` that have no ``where``, in every row.
    """

    metric: Literal["average_precision", "roc_auc"] = "average_precision"
    rows: Rows | list[Rows]
    searcher: Searcher = RandomSearcher()
    scheduler: Scheduler
    budget: Budget
    patience: int | None = Field(None, ge=1)
    report_every: int = Field(10, ge=1)
    grace_iterations: int = Field(20, ge=1)
    reduction_factor: int = Field(3, ge=2)
    cpus_per_trial: float = Field(1, gt=0)
    gpus_per_trial: float = Field(0, ge=0)
    seed: int = Field(0, ge=0)
    finalists: int = Field(3, ge=1)
    blend: Literal["none", "mean", "stacked"] = "none"
    monotone: bool = False
    families: list[Family] = Field(min_length=1)

    @property
    def most_rows(self) -> int:
        """Number of the latest training rows that the search has."""
        return max(self.rows) if isinstance(self.rows, list) else self.rows

    def fewer(self, point: Mapping[str, Any]) -> int | None:
        """Number of rows of a trial at ``point``; None for all that the search has."""
        rows: int = point.get("rows", self.most_rows)
        return None if rows == self.most_rows else rows

    @property
    def sampler(self) -> dict[str, Any]:
        """Options of Optuna's sampler."""
        options = self.searcher.model_dump(exclude={"name"})
        if "n_startup_trials" in options and options["n_startup_trials"] is None:
            options["n_startup_trials"] = min(10, math.ceil((self.budget.trials or 30) / 3))
        return options

    def grace(self, family: Family) -> int:
        """Iterations of ``family`` before which the scheduler stops none of its trials."""
        return 1 if family.one_step else family.grace_iterations or self.grace_iterations

    @model_validator(mode="before")
    @classmethod
    def _default_scheduler(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "scheduler" in given:
            return given
        budget = given.get("budget")
        trials = budget.get("trials") if isinstance(budget, Mapping) else getattr(budget, "trials", None)
        few = isinstance(trials, int) and trials < _FEW
        return {**given, "scheduler": NoScheduler(name="none") if few else AshaScheduler()}

    @model_validator(mode="after")
    def _families_fit(self) -> Tuning:
        keys = [family.key for family in self.families]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"families: {key} is listed {keys.count(key)} times; merge its spaces into one")
        if isinstance(self.rows, list) and len(set(self.rows)) < max(2, len(self.rows)):
            raise ValueError(f"rows = {self.rows}; expected one number, or a list of two or more different numbers")
        if self.blend != "none" and self.finalists == 1:
            raise ValueError(
                f"blend = {self.blend} needs two finalists or more, and finalists = 1; increase it, or remove blend"
            )
        for family in self.families:
            if family.iterations < self.grace(family):
                raise ValueError(
                    f"families: {family.key} has {family.iterations} iterations, fewer than "
                    f"grace_iterations = {self.grace(family)}; increase iterations or decrease grace_iterations"
                )
        return self


def _check_dimension(name: str, dimension: dict[str, Any]) -> None:
    keys = set(dimension)
    if keys == {"choices"}:
        if not dimension["choices"]:
            raise ValueError(f"dimension '{name}' has no choices; add at least one")
        return
    if not {"low", "high"} <= keys <= {"low", "high", "log", "integer"}:
        raise ValueError(
            f"dimension '{name}' is {dimension}; expected {{low, high}} with optional log and integer, "
            "{choices: [...]}, or a constant"
        )
    for end in ("low", "high"):
        kinds = int if dimension.get("integer") else (int, float)
        if not isinstance(dimension[end], kinds) or isinstance(dimension[end], bool):
            raise ValueError(
                f"dimension '{name}': {end} = {dimension[end]!r}; expected a "
                f"{'whole number' if dimension.get('integer') else 'number'} (YAML reads 1e-3 as text)"
            )
    if dimension.get("log") and dimension["low"] <= 0:
        raise ValueError(f"dimension '{name}': low {dimension['low']} must be above 0 if log is true")
    if not dimension["low"] < dimension["high"]:
        raise ValueError(f"dimension '{name}': low {dimension['low']} must be below high {dimension['high']}")
