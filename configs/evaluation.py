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
    """Cost of each outcome of a decision on one row, in any unit; a gain is a negative cost."""

    false_positive: float = Field(description="Cost of flagging a negative row. It must be above `true_negative`.")
    false_negative: float = Field(description="Cost of not flagging a positive row. It must be above `true_positive`.")
    true_positive: float = Field(0.0, description="Cost of flagging a positive row.")
    true_negative: float = Field(0.0, description="Cost of not flagging a negative row.")

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

    costs: Costs = Field(description="Costs of the four outcomes of a decision.")


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
    Annotated[float, Field(gt=0, lt=1), Tag("number")]
    | Annotated[Literal["f1"], Tag("name")]
    | Annotated[CostThreshold, Tag("costs")],
    Discriminator(_kind),
    BeforeValidator(_threshold),
]


class Fairness(Frozen):
    """Groups whose rates are compared."""

    groups: list[str] = Field(min_length=1, description="Features or request fields whose values are groups.")
    gap: float = Field(
        0.1,
        gt=0,
        le=1,
        description=(
            "The maximum difference of rates between groups. It is a bound of the report and, with "
            "`gate.fairness`, of the promotion gate."
        ),
    )


Share = Annotated[float, Field(gt=0, le=1)]


class _Test(Frozen):
    """Base of all tests."""

    name: str = Field(min_length=1, description="Name of the test in reports and decisions.")
    where: str | None = Field(None, description="Condition on the rows, in SQL over the features. Null means all rows.")
    required: bool = Field(False, description="Whether a version that fails the test may not be promoted.")


class Invariance(_Test):
    """A change of one feature hardly moves the score."""

    test: Literal["invariance"] = Field(description="The kind of the test.")
    feature: str = Field(description="The feature that is set to each of `values`.")
    values: list[StrictInt | StrictFloat | StrictStr] = Field(
        min_length=2, description="The values of the feature: all texts or all numbers."
    )
    tolerance: float = Field(0.01, ge=0, description="The maximum move of the score.")
    share: Share = Field(0.95, description="The minimum share of rows whose score moves by at most `tolerance`.")

    @field_validator("values")
    @classmethod
    def _one_type(cls, values: list[int | float | str]) -> list[int | float | str]:
        if len({isinstance(value, str) for value in values}) > 1:
            raise ValueError("expected all texts or all numbers")
        return values


class Direction(_Test):
    """A rise of one feature moves the score in one direction, or not at all."""

    test: Literal["direction"] = Field(description="The kind of the test.")
    feature: str = Field(description="The feature to which `raise_by` is added.")
    raise_by: float = Field(description="The number that is added to the feature; a negative one lowers it.")
    score: Literal["up", "down"] = Field("up", description="The direction in which the score moves.")
    tolerance: float = Field(
        0.001, ge=0, description="A move of the score in the other direction by at most this much counts as none."
    )
    share: Share = Field(
        0.95, description="The minimum share of rows that behave so, among those that have a value of the feature."
    )

    @field_validator("raise_by")
    @classmethod
    def _moves(cls, value: float) -> float:
        if not value:
            raise ValueError("expected a number other than 0")
        return value


class Minimum(_Test):
    """A metric on the rows of the test has a lower bound, an upper bound, or both."""

    test: Literal["minimum"] = Field(description="The kind of the test.")
    metric: Literal["mean_score", "roc_auc", "average_precision", "precision", "recall", "f1"] = Field(
        description="The metric, or the mean score."
    )
    at_least: float | None = Field(
        None, description="The minimum of the metric. Null means no lower bound; one of the two bounds is needed."
    )
    at_most: float | None = Field(None, description="The maximum of the metric. Null means no upper bound.")

    @model_validator(mode="after")
    def _bounded(self) -> Minimum:
        if self.at_least is None and self.at_most is None:
            raise ValueError(f"the test '{self.name}' has no bound; set at_least or at_most")
        return self


BehaviourTest = Annotated[Invariance | Direction | Minimum, Field(discriminator="test")]
