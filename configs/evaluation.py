"""Settings of a model's evaluation: costs, calibration, threshold, fairness, and behavioural tests.

The three kinds of behavioural test are those of M. T. Ribeiro et al., Beyond Accuracy: Behavioral Testing of NLP Models
with CheckList, ACL 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    field_validator,
    model_validator,
)

from configs.reading import Frozen, nearest

__all__ = [
    "Calibration",
    "CostThreshold",
    "Costs",
    "Fairness",
    "Threshold",
    "BehaviourTest",
    "Direction",
    "Invariance",
    "Minimum",
]

#: Calibration of scores, fitted on validation scores; ``auto`` chooses the method with the lowest log loss there.
Calibration = Literal["auto", "none", "sigmoid", "isotonic"]


class Costs(Frozen):
    """Cost of each outcome of a decision, in any unit; a gain is a negative cost."""

    false_positive: float
    false_negative: float
    true_positive: float = 0.0
    true_negative: float = 0.0

    @model_validator(mode="after")
    def _wrong_costs_more(self) -> Costs:
        if self.false_positive <= self.true_negative:
            raise ValueError(
                f"false_positive {self.false_positive:g} must cost more than true_negative {self.true_negative:g}; "
                "otherwise flagging everything would always be best"
            )
        if self.false_negative <= self.true_positive:
            raise ValueError(
                f"false_negative {self.false_negative:g} must cost more than true_positive {self.true_positive:g}; "
                "otherwise flagging nothing would always be best"
            )
        return self


class CostThreshold(Frozen):
    """The threshold with the lowest mean cost on the validation scores."""

    costs: Costs


def _threshold(value: object) -> object:
    """Refuse an invalid threshold in one sentence; pydantic's message would list every member of the union."""
    if isinstance(value, CostThreshold) or value == "f1":
        return value
    if isinstance(value, Mapping) and set(value) == {"costs"}:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 < value < 1:
            return value
        raise ValueError("a number must be above 0 and below 1")
    near = nearest(value, ["f1"]).strip() + " " if isinstance(value, str) else ""
    raise ValueError(
        f"{near}Expected f1, a number in (0, 1) or {{costs: {{false_positive: …, false_negative: …}}}}".strip()
    )


def _kind(value: object) -> str:
    if isinstance(value, Mapping | CostThreshold):
        return "costs"
    return "name" if isinstance(value, str) else "number"


#: ``f1``, a number, or costs.
Threshold = Annotated[
    Annotated[float, Tag("number")] | Annotated[Literal["f1"], Tag("name")] | Annotated[CostThreshold, Tag("costs")],
    Discriminator(_kind),
    BeforeValidator(_threshold),
]


class Fairness(Frozen):
    """Features or request fields whose values are groups, and the maximum difference of rates between groups."""

    groups: list[str] = Field(min_length=1)
    gap: float = Field(0.1, gt=0, le=1)


Share = Annotated[float, Field(gt=0, le=1)]


class _Test(Frozen):
    """Base of all tests: a name, a condition on the rows (SQL over features; default: all), whether it must pass."""

    name: str = Field(min_length=1)
    where: str | None = None
    required: bool = False


class Invariance(_Test):
    """Setting ``feature`` to each of ``values`` moves the score by at most ``tolerance`` in at least ``share`` of the
    rows."""

    test: Literal["invariance"]
    feature: str
    values: list[StrictInt | StrictFloat | StrictStr] = Field(min_length=2)
    tolerance: float = Field(0.01, ge=0)
    share: Share = 0.95

    @field_validator("values")
    @classmethod
    def _one_type(cls, values: list[int | float | str]) -> list[int | float | str]:
        if len({isinstance(value, str) for value in values}) > 1:
            raise ValueError("expected all texts or all numbers")
        return values


class Direction(_Test):
    """Adding ``raise_by`` to ``feature`` moves the score in the direction ``score`` (or not at all, within
    ``tolerance``) in at least ``share`` of the rows that have a value."""

    test: Literal["direction"]
    feature: str
    raise_by: float
    score: Literal["up", "down"] = "up"
    tolerance: float = Field(0.001, ge=0)
    share: Share = 0.95

    @field_validator("raise_by")
    @classmethod
    def _moves(cls, value: float) -> float:
        if not value:
            raise ValueError("expected a number other than 0")
        return value


class Minimum(_Test):
    """On the test's rows, ``metric`` is at least ``at_least`` and at most ``at_most``."""

    test: Literal["minimum"]
    metric: Literal["mean_score", "roc_auc", "average_precision", "precision", "recall", "f1"]
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Minimum:
        if self.at_least is None and self.at_most is None:
            raise ValueError(f"the test '{self.name}' has no bound; set at_least or at_most")
        return self


BehaviourTest = Annotated[Invariance | Direction | Minimum, Field(discriminator="test")]
