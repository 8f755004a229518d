"""Promotion: the gates that a new version must pass to become champion, and whether a person must approve it."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from configs.reading import Duration, Frozen

__all__ = [
    "Gate",
    "Approval",
]


class Gate(Frozen):
    """When a new version becomes champion. Every bound is a separate gate, and all must be passed.

    If there is no champion, the gates that compare with it are left out. Both are compared on the same held-out
    rows, by fits that had not seen them; the interval of the gain covers the variation between days and between
    seeds.
    """

    metric: Literal["average_precision", "roc_auc"] = Field(
        "average_precision", description="The metric in which challenger and champion are compared."
    )
    margin: float = Field(
        0.0, ge=0, description="The challenger's metric exceeds the champion's by at least this much."
    )
    confidence: float = Field(
        0.9,
        gt=0,
        lt=1,
        description=(
            "Confidence of the interval of the gain; the gain is certain if the lower end is above zero. All "
            "challengers that are compared on the same rows share the probability of an error, `(1 - confidence) / "
            "2`."
        ),
    )
    refresh: bool = Field(
        True,
        description=(
            "Whether a challenger whose served fit knows at least a day more than the champion's does not have to "
            "be better. Otherwise a change of the world could not be learned before it fills the held-out period."
        ),
    )
    tolerance: float = Field(
        0.01, ge=0, description="With this `confidence`, a refresh must be worse by less than this."
    )
    minimum: dict[Literal["average_precision", "roc_auc"], float] = Field(
        {}, description="The minimum of each given metric."
    )
    slice_drop: float | None = Field(
        0.05,
        ge=0,
        description=(
            "No declared slice with 30 rows of each class loses more ROC AUC than this. Null switches the gate off."
        ),
    )
    ece: float | None = Field(None, gt=0, description="The largest expected calibration error. Null means no bound.")
    ece_rise: float | None = Field(
        0.02,
        ge=0,
        description="The maximum excess of the expected calibration error over the champion's. Null means no bound.",
    )
    latency_ms: float | None = Field(
        None,
        gt=0,
        description=(
            "The largest 95th percentile of the time that the bundle takes to score one row, in milliseconds. Null "
            "means no bound."
        ),
    )
    size_mb: float | None = Field(
        None, gt=0, description="The largest size of the bundle's files, in 10^6 bytes. Null means no bound."
    )
    behaviour: bool = Field(True, description="Whether every behavioural test that is declared as required must pass.")
    fairness: bool = Field(
        False,
        description=(
            "Whether no gap between declared groups may exceed its declared bound. Off by default: gaps are "
            "measured and shown in the decision and on the card, but they affect decisions only if a person "
            "enables this."
        ),
    )


class Approval(Frozen):
    """Who may approve, and how long the register flow waits for one of them."""

    required: bool = Field(
        False, description="Whether a version that passed the gate waits until a person approves or rejects it."
    )
    approvers: list[str] = Field([], description="The accepted names; any name if empty.")
    timeout: Duration = Field(
        timedelta(days=7),
        description="Then the flow run ends; the version continues to wait, and `headrace models approve` still works.",
    )
