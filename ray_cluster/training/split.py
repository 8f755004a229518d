"""Cut a training frame by time: training, validation, held out; with several folds a rolling origin.

Rolling origin: L. J. Tashman, Out-of-sample tests of forecasting accuracy, International Journal of Forecasting 16,
2000.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from configs.model import Split

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["Fold", "Periods", "SplitError", "split"]


class SplitError(ValueError):
    """A period without usable rows; one sentence with its bounds."""


@dataclass(frozen=True)
class Fold:
    """Row masks of one validation window, [start, end), and of what was known before it."""

    train: np.ndarray
    validation: np.ndarray
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Periods:
    """Row masks of the three periods, in time order, and their bounds.

    ``train`` and ``validation`` are the last fold; ``earlier`` are the folds before it, in time order. ``whole`` has
    rows and positives of periods of which only the latest rows are in memory.
    """

    train: np.ndarray
    validation: np.ndarray
    held_out: np.ndarray
    bounds: dict[str, tuple[datetime, datetime]]
    whole: dict[str, tuple[int, int]] = field(default_factory=dict)
    earlier: tuple[Fold, ...] = ()

    @property
    def folds(self) -> tuple[Fold, ...]:
        """All folds, in time order."""
        return (*self.earlier, Fold(self.train, self.validation, *self.bounds["validation"]))

    def describe(self, label: pd.Series) -> dict[str, dict[str, Any]]:
        """Bounds, rows and positives of each period."""
        here = {name: (int(getattr(self, name).sum()), int(label[getattr(self, name)].sum())) for name in self.bounds}
        return {
            name: {"start": start.isoformat(), "end": end.isoformat(), "rows": rows, "positives": positives}
            for name, (start, end) in self.bounds.items()
            for rows, positives in [self.whole.get(name, here[name])]
        }

    def early(self, times: pd.Series, known_at: pd.Series) -> np.ndarray:
        """Mask of rows, here or not, that are in the training or validation period."""
        (_, validation), (_, held_out) = self.bounds["train"], self.bounds["validation"]
        train = (times < validation) & (known_at <= validation)
        later = (times >= validation) & (times < held_out) & (known_at <= held_out)
        mask: np.ndarray = (train | later).to_numpy()
        return mask


def split(times: pd.Series, known_at: pd.Series, label: pd.Series, as_of: datetime, lengths: Split) -> Periods:
    """Cut by prediction time into [.., v), [v, h), [h, as_of), with h = as_of - held_out and v = h - validation.

    A row whose outcome became known only after its period ended is left out of the training and validation
    periods: whoever fitted at that moment could not have had it. With ``lengths.folds`` above 1 as many validation
    windows, each of the same length, follow one another up to h; each has its own training rows: all before it.

    Raises:
        SplitError: a period lacks rows of either outcome.
    """
    held_out = as_of - lengths.held_out

    def fold(back: int) -> Fold:
        start, end = held_out - (back + 1) * lengths.validation, held_out - back * lengths.validation
        return Fold(
            train=((times < start) & (known_at <= start)).to_numpy(),
            validation=((times >= start) & (times < end) & (known_at <= end)).to_numpy(),
            start=start,
            end=end,
        )

    last, first = fold(0), times.min().to_pydatetime()
    periods = Periods(
        train=last.train,
        validation=last.validation,
        held_out=((times >= held_out) & (times < as_of)).to_numpy(),
        bounds={
            "train": (first, last.start),
            "validation": (last.start, held_out),
            "held_out": (held_out, as_of),
        },
        earlier=tuple(fold(back) for back in range(lengths.folds - 1, 0, -1)),
    )
    for name, (start, end) in periods.bounds.items():
        _require(getattr(periods, name), label, f"{name.replace('_', '-')} period", start, end, lengths.folds)
    for number, each in enumerate(periods.earlier, start=1):
        _require(each.train, label, f"training period of fold {number}", first, each.start, lengths.folds)
        _require(each.validation, label, f"validation period of fold {number}", each.start, each.end, lengths.folds)
    return periods


def _require(mask: np.ndarray, label: pd.Series, name: str, start: datetime, end: datetime, folds: int) -> None:
    if label[mask].nunique() < 2:
        fewer = " or use fewer split.folds" if folds > 1 else ""
        raise SplitError(
            f"The {name} {start:%Y-%m-%d} to {end:%Y-%m-%d} has {int(mask.sum())} rows and lacks one of the two "
            f"outcomes; ingest more history, or shorten split.validation and split.held_out{fewer}."
        )
