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
    """Prices, in one currency."""

    cpu_hour: float = Field(0.0, ge=0, description="Price of an hour of one CPU.")
    gpu_hour: float = Field(0.0, ge=0, description="Price of an hour of one GPU.")


class Budget(Frozen):
    """The end of the search: the limit that is reached first, over all families."""

    trials: int | None = Field(
        None, ge=1, description="Number of trials. Null means no limit; one of the three is needed."
    )
    seconds: float | None = Field(
        None, gt=0, description="Seconds of the search; running trials are stopped then. Null means no limit."
    )
    cost: float | None = Field(
        None,
        gt=0,
        description=(
            "Cost of the hours of CPU and GPU that the trials reserved, at the `prices` of the settings. Null "
            "means no limit."
        ),
    )

    @model_validator(mode="after")
    def _ends(self) -> Budget:
        if self.trials is None and self.seconds is None and self.cost is None:
            raise ValueError("the budget is empty; set trials, seconds or cost")
        return self


class Family(Frozen):
    """One model family and its search space."""

    family: Literal["xgboost", "hist_gradient_boosting", "random_forest", "logistic_regression", "mlp", "custom"] = (
        Field(description="The model family.")
    )
    estimator: str | None = Field(
        None, description="For family `custom`: the import path of a scikit-learn classifier, `package.module:Class`."
    )
    iterations: int = Field(
        1,
        ge=1,
        description=(
            "Maximum of boosting rounds, trees or epochs. `logistic_regression` and `custom` are fitted in one "
            "step and have 1; the others need at least 2."
        ),
    )
    report_every: int | None = Field(
        None,
        ge=1,
        description="Overrides that of the search for a family with other iterations. Null means that of the search.",
    )
    grace_iterations: int | None = Field(
        None,
        ge=1,
        description="Overrides that of the search for a family with other iterations. Null means that of the search.",
    )
    space: dict[str, Any] = Field(
        {},
        description=(
            "Parameter of the scikit-learn class: its dimension. This is `{low, high}` (uniform), with `log: true` "
            "log-uniform, with `integer: true` whole numbers; or `{choices: [...]}`; or a constant. `class_weight` "
            "(balanced, or a mapping) is a parameter of every family."
        ),
    )

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

    name: Literal["random"] = Field("random", description="The name of the searcher.")


class TpeSearcher(Frozen):
    """Tree-structured Parzen estimator (Bergstra et al., NIPS 2011), which learns from previous trials.

    The options are those of Optuna's ``TPESampler``.
    """

    name: Literal["tpe"] = Field(description="The name of the searcher.")
    n_startup_trials: int | None = Field(
        None,
        ge=1,
        description="Number of first points that are random. Null means a third of `budget.trials` and at most 10.",
    )
    n_ei_candidates: int = Field(24, ge=1, description="Number of candidates from which each point is chosen.")
    multivariate: bool = Field(False, description="Whether parameters are modelled jointly.")


class AshaScheduler(Frozen):
    """Asynchronous successive halving (Li et al., MLSys 2020)."""

    name: Literal["asha"] = Field("asha", description="The name of the scheduler.")
    brackets: int = Field(1, ge=1, description="Number of brackets, with increasingly late first rungs.")


class HyperBandScheduler(Frozen):
    """HyperBand (Li et al., JMLR 2018): trials of a bracket wait for each other at each rung."""

    name: Literal["hyperband"] = Field(description="The name of the scheduler.")


class MedianScheduler(Frozen):
    """Median stopping rule (Golovin et al., KDD 2017)."""

    name: Literal["median"] = Field(description="The name of the scheduler.")
    min_samples_required: int = Field(
        3, ge=1, description="Number of trials that must have got as far before one is stopped."
    )


class NoScheduler(Frozen):
    """No trial is stopped early."""

    name: Literal["none"] = Field(description="The name of the scheduler.")


def _named(members: Any, *known: str) -> BeforeValidator:
    """A name alone means its defaults."""

    def check(value: object) -> object:
        given = {"name": value} if isinstance(value, str) else value
        name = given.get("name") if isinstance(given, dict) else None
        if name not in known and not isinstance(value, Frozen):
            close = nearest(name, list(known)) if isinstance(name, str) else ""
            raise ValueError(f"expected {', '.join(known)}, or a mapping of such a name and its options.{close}")
        return given

    return BeforeValidator(check, json_schema_input_type=Literal[known] | members)


_Searchers = Annotated[RandomSearcher | TpeSearcher, Field(discriminator="name")]
_Schedulers = Annotated[AshaScheduler | HyperBandScheduler | MedianScheduler | NoScheduler, Field(discriminator="name")]
Searcher = Annotated[_Searchers, _named(_Searchers, "random", "tpe")]
Scheduler = Annotated[_Schedulers, _named(_Schedulers, "asha", "hyperband", "median", "none")]


Rows = Annotated[StrictInt, Field(ge=1000)]


class Tuning(Frozen):
    """The search: families, number of the latest training rows, and Ray Tune's searcher and scheduler."""

    metric: Literal["average_precision", "roc_auc"] = Field(
        "average_precision", description="The metric of a trial, on the validation period."
    )
    rows: Rows | list[Rows] = Field(
        description=(
            "The search is fitted on this number of the latest of the training rows, the final fits on all. With a "
            "list of numbers, each trial draws one of them, and its final fits have as many rows, or all if it "
            "drew the largest."
        )
    )
    searcher: Searcher = Field(
        RandomSearcher(),
        description="What draws the points: a name, or a mapping of the name and its options.",
        json_schema_extra={"default": "random"},
    )
    scheduler: Scheduler = Field(
        description=(
            "What stops trials early: a name, or a mapping of the name and its options. Without it, `none` for "
            "fewer than 16 trials, too few to compare them at several rungs."
        ),
        json_schema_extra={"default": "asha"},
    )
    budget: Budget = Field(description="The end of the search.")
    patience: int | None = Field(
        None,
        ge=1,
        description=(
            "A trial is finished if its metric did not improve for so many iterations, at the highest learning "
            "rate; a trial with half of it has twice as many. Null means no limit."
        ),
    )
    report_every: int = Field(10, ge=1, description="Iterations between two measurements of the metric.")
    grace_iterations: int = Field(
        20,
        ge=1,
        description=(
            "No scheduler stops a trial before so many iterations, at the highest learning rate; a trial with half "
            "of it has twice as many. The first rung of ASHA and HyperBand is there."
        ),
    )
    reduction_factor: int = Field(
        3,
        ge=2,
        description=(
            "The further rungs of ASHA and HyperBand are at `reduction_factor` times `grace_iterations`, and so "
            "on; of the trials at a rung the best `1 / reduction_factor` continue."
        ),
    )
    cpus_per_trial: float = Field(1, gt=0, description="CPUs that a trial reserves.")
    gpus_per_trial: float = Field(
        0, ge=0, description="GPUs that a trial reserves. With one, XGBoost is fitted on CUDA."
    )
    seed: int = Field(0, ge=0, description="Seed of the search; the same seed is the same search.")
    finalists: int = Field(
        3,
        ge=1,
        description="Number of the best trials that are fitted again on the earlier folds, if `split.folds` > 1.",
    )
    blend: Literal["none", "mean", "stacked"] = Field(
        "none",
        description=(
            "Whether the finalists together are one more finalist: with equal weights (`mean`), or with weights "
            "chosen on their scores on the folds (`stacked`, with `split.folds` above 1)."
        ),
    )
    monotone: bool = Field(
        False,
        description=(
            "Whether boosted trees obey the model's behavioural tests `direction` that have no `where`, in every row."
        ),
    )
    families: list[Family] = Field(min_length=1, description="The model families, which are searched together.")

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
