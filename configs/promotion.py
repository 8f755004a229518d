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

    If there is no champion, the gates that compare with it are left out. Both are compared on the same held-out rows,
    by fits that had not seen them; the interval of the gain covers the variation between days and between seeds.

    Attributes:
        metric, margin: the challenger's metric exceeds the champion's by at least this much.
        confidence: of the interval of the gain; the gain is certain if the lower end is above zero. All challengers
            that are compared on the same rows share the probability of an error, ``(1 - confidence) / 2``.
        refresh, tolerance: a challenger whose served fit knows at least a day more than the champion's does not have to
            be better: with this confidence it must be worse by less than the tolerance. Otherwise a change of the world
            could not be learned before it fills the held-out period.
        minimum: the minimum of each given metric.
        slice_drop: no declared slice with 30 rows of each class loses more ROC AUC than this.
        ece, ece_rise: the largest expected calibration error, and the maximum of its excess over the champion's.
        latency_ms: the largest 95th percentile of the time that the bundle takes to score one row.
        size_mb: the largest size of the bundle's files, in 10^6 bytes.
        behaviour: every behavioural test that is declared as required passes.
        fairness: no gap between declared groups exceeds its declared bound. Off by default: gaps are measured and shown
            in the decision and on the card, but they affect decisions only if a person enables this.
    """

    metric: Literal["average_precision", "roc_auc"] = "average_precision"
    margin: float = Field(0.0, ge=0)
    confidence: float = Field(0.9, gt=0, lt=1)
    refresh: bool = True
    tolerance: float = Field(0.01, ge=0)
    minimum: dict[Literal["average_precision", "roc_auc"], float] = {}
    slice_drop: float | None = Field(0.05, ge=0)
    ece: float | None = Field(None, gt=0)
    ece_rise: float | None = Field(0.02, ge=0)
    latency_ms: float | None = Field(None, gt=0)
    size_mb: float | None = Field(None, gt=0)
    behaviour: bool = True
    fairness: bool = False


class Approval(Frozen):
    """Who may approve, and how long the register flow waits for one of them.

    Attributes:
        required: a version that passed the gate waits until a person approves or rejects it.
        approvers: the accepted names; any name if empty.
        timeout: after it the flow run ends; the version continues to wait, and `headrace models approve` still works.
    """

    required: bool = False
    approvers: list[str] = []
    timeout: Duration = timedelta(days=7)
