"""Cut a training frame by time: training, validation, held out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from configs.model import Split

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["Periods", "SplitError", "split"]


class SplitError(ValueError):
    """A period without usable rows; one sentence with its bounds."""


@dataclass(frozen=True)
class Periods:
    """Row masks of the three periods, in time order, and their bounds.

    ``whole`` has rows and positives of periods of which only the latest rows are in memory.
    """

    train: np.ndarray
    validation: np.ndarray
    held_out: np.ndarray
    bounds: dict[str, tuple[datetime, datetime]]
    whole: dict[str, tuple[int, int]] = field(default_factory=dict)

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
    periods: whoever fitted at that moment could not have had it.

    Raises:
        SplitError: a period lacks rows of either outcome.
    """
    held_out = as_of - lengths.held_out
    validation = held_out - lengths.validation
    periods = Periods(
        train=((times < validation) & (known_at <= validation)).to_numpy(),
        validation=((times >= validation) & (times < held_out) & (known_at <= held_out)).to_numpy(),
        held_out=((times >= held_out) & (times < as_of)).to_numpy(),
        bounds={
            "train": (times.min().to_pydatetime(), validation),
            "validation": (validation, held_out),
            "held_out": (held_out, as_of),
        },
    )
    for name, (start, end) in periods.bounds.items():
        if label[getattr(periods, name)].nunique() < 2:
            raise SplitError(
                f"The {name.replace('_', '-')} period {start:%Y-%m-%d} to {end:%Y-%m-%d} has "
                f"{int(getattr(periods, name).sum())} rows and lacks one of the two outcomes; "
                "ingest more history, or shorten split.validation and split.held_out."
            )
    return periods
