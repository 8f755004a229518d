"""How a model is judged: what wrong decisions cost, how its scores are calibrated, and between whom it must be fair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from configs.reading import Frozen, nearest

__all__ = ["Calibration", "CostThreshold", "Costs", "Fairness", "Threshold"]

#: How scores become probabilities, learned on validation scores; ``auto`` takes what has the least log loss there.
Calibration = Literal["auto", "none", "sigmoid", "isotonic"]


class Costs(Frozen):
    """What each outcome of a decision costs, in any unit; a gain is a cost below zero."""

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
    """The threshold with the least mean cost on the validation scores."""

    costs: Costs


def _threshold(value: object) -> object:
    """Refuse what is no threshold in one sentence; pydantic would tell of every member of the union."""
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
    """Features or request fields whose values are groups, and how far rates may differ between the groups of one."""

    groups: list[str] = Field(min_length=1)
    gap: float = Field(0.1, gt=0, le=1)
