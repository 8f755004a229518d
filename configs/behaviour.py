"""Behavioural tests of a model: what its scores must do, whatever its metrics say.

The three kinds are those of M. T. Ribeiro et al., Beyond Accuracy: Behavioral Testing of NLP Models with CheckList,
ACL 2020.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictFloat, StrictInt, StrictStr, field_validator, model_validator

from configs.reading import Frozen

__all__ = ["BehaviourTest", "Direction", "Invariance", "Minimum"]

Share = Annotated[float, Field(gt=0, le=1)]


class _Test(Frozen):
    """What every test has: a name, the rows it is about (SQL over the features; all without), whether it must pass."""

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
    """Adding ``raise_by`` to ``feature`` makes the score go to ``score`` (or stay, within ``tolerance``) in at least
    ``share`` of the rows that have a value."""

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
    """On the rows that it is about, ``metric`` is at least ``at_least`` and at most ``at_most``."""

    test: Literal["minimum"]
    metric: Literal["mean_score", "roc_auc", "average_precision", "precision", "recall", "f1"]
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Minimum:
        if self.at_least is None and self.at_most is None:
            raise ValueError(f"the test '{self.name}' has no bound; name at_least or at_most")
        return self


BehaviourTest = Annotated[Invariance | Direction | Minimum, Field(discriminator="test")]
