"""The data of a training: the labelled frame, its model inputs, and its periods (training, validation, held out).

Periods follow each other in time; the validation windows, and those of the held-out period, form a rolling origin.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from configs.errors import HeadraceError
from configs.model import ModelSpec, Split
from configs.settings import Settings
from feature_repo.frames.frame_parts import FrameParts, build_parts
from feature_repo.frames.training_frame import (
    LABEL_KNOWN_AT,
    PREDICTION_TIME,
    TrainingFrame,
    labels,
    model_inputs,
    table_fingerprints,
    training_frame,
)
from ray_cluster.evaluation.intervals import local_days
from ray_cluster.training.inputs import check_inputs

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = [
    "Fold",
    "Periods",
    "SplitError",
    "known",
    "split",
    "latest",
    "TrainingData",
    "prepare",
]


class SplitError(HeadraceError, ValueError):
    """A period has no usable rows; the message is one sentence with its bounds."""


@dataclass(frozen=True)
class Fold:
    """Row masks of one window, [start, end), and of the rows (``train``) whose outcome was known before it."""

    train: np.ndarray
    validation: np.ndarray
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Periods:
    """Row masks of the three periods, in time order, and their bounds.

    ``train`` and ``validation`` are the last fold; ``earlier`` are the folds before it, in time order. ``origins`` are
    the windows of the held-out period: before each, the chosen point is fitted on all rows known by then. ``served``
    has the rows of the fit that is served, all that are known at ``as_of``. ``whole`` has rows and positives of periods
    that have only their latest rows in memory.
    """

    train: np.ndarray
    validation: np.ndarray
    held_out: np.ndarray
    bounds: dict[str, tuple[datetime, datetime]]
    origins: tuple[Fold, ...]
    served: Fold
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


def known(times: pd.Series, known_at: pd.Series, until: datetime) -> np.ndarray:
    """Mask of the rows before ``until`` whose outcome was known by then, shape (rows,)."""
    mask: np.ndarray = ((times < until) & (known_at <= until)).to_numpy()
    return mask


def split(times: pd.Series, known_at: pd.Series, label: pd.Series, as_of: datetime, lengths: Split) -> Periods:
    """Cut by prediction time into [.., v), [v, h), [h, as_of), with h = as_of - held_out and v = h - validation.

    A row whose outcome became known only after its period ended is left out of the training and validation periods:
    a model fitted at that time could not have used it. With ``lengths.folds`` above 1, that many validation windows of
    equal length follow each other up to h; the training rows of each are all rows before it. ``lengths.origins`` cuts
    the held-out period in the same way.

    Raises:
        SplitError: a period has no rows of one outcome.
    """
    held_out = as_of - lengths.held_out

    def window(start: datetime, end: datetime) -> Fold:
        return Fold(known(times, known_at, start), ((times >= start) & (times < end)).to_numpy(), start, end)

    def fold(back: int) -> Fold:
        end = held_out - back * lengths.validation
        found = window(end - lengths.validation, end)
        return replace(found, validation=found.validation & known(times, known_at, end))

    starts = [held_out + number * lengths.held_out / lengths.origins for number in range(lengths.origins)]

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
        origins=tuple(window(start, end) for start, end in pairwise([*starts, as_of])),
        served=window(as_of, as_of),
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
            f"The {name} {start:%Y-%m-%d} to {end:%Y-%m-%d} has {int(mask.sum())} rows and needs rows of both "
            f"outcomes; ingest more history, or shorten split.validation and split.held_out{fewer}."
        )


def latest(settings: Settings, spec: ModelSpec, as_of: datetime, parts: FrameParts) -> tuple[TrainingFrame, Periods]:
    """The frame from the first fold's ``tuning.rows`` training rows onwards, with its periods.

    The periods' bounds and the training period's count are those of the whole frame.

    Raises:
        SplitError: a period has no rows of one outcome.
    """
    import numpy as np
    import pandas as pd

    validation = as_of - spec.split.held_out - spec.split.folds * spec.split.validation
    kept: list[pd.DataFrame] = []
    trained = 0
    for part in parts.read(backwards=True):
        kept.append(part)
        trained += int(((part[PREDICTION_TIME] < validation) & (part[LABEL_KNOWN_AT] <= validation)).sum())
        if trained >= spec.tuning.most_rows:
            break
    rows = pd.concat(reversed(kept), ignore_index=True)
    train = (rows[PREDICTION_TIME] < validation) & (rows[LABEL_KNOWN_AT] <= validation)
    first = np.flatnonzero(train)[-spec.tuning.most_rows :][:1]
    rows = rows.iloc[int(first[0]) if len(first) else 0 :].reset_index(drop=True)
    periods = split(rows[PREDICTION_TIME], rows[LABEL_KNOWN_AT], rows["label"], as_of, spec.split)
    return (
        TrainingFrame(
            rows.drop(columns=LABEL_KNOWN_AT),
            parts.features,
            parts.fingerprint,
            table_fingerprints(settings, spec),
            parts.columns,
            parts.overlay,
            parts.unlabelled,
        ),
        _of_the_whole(periods, parts),
    )


def _of_the_whole(periods: Periods, parts: FrameParts) -> Periods:
    begin, end = periods.bounds["train"]
    count = positives = 0
    for part in parts.read([PREDICTION_TIME, LABEL_KNOWN_AT, "label"]):
        train = (part[PREDICTION_TIME] < end) & (part[LABEL_KNOWN_AT] <= end)
        begin = min(begin, part[PREDICTION_TIME].min().to_pydatetime())
        count, positives = count + int(train.sum()), positives + int(part.loc[train, "label"].sum())
    return replace(periods, bounds={**periods.bounds, "train": (begin, end)}, whole={"train": (count, positives)})


@dataclass(frozen=True)
class TrainingData:
    """Rows in the order of their prediction time; if the frame is on disk, the latest of them.

    Attributes:
        frame: the retrieved frame: ``frame.rows`` has id, entities, fields, ``prediction_time``, label and features.
            Its fingerprints are those of all rows.
        features: the model's inputs, shape (rows, features): text or float64.
        y: labels 0 or 1, shape (rows,).
        periods: row masks of training, validation and held-out period.
        parts: all rows, if they do not have to fit in memory (``fit.memory: external``); the final fits use these.
        timezone: of the days that are the units of intervals.
    """

    frame: TrainingFrame
    features: pd.DataFrame
    y: np.ndarray[Any, Any]
    periods: Periods
    parts: FrameParts | None = None
    timezone: str = "UTC"

    @property
    def rows(self) -> pd.DataFrame:
        return self.frame.rows

    @property
    def row_count(self) -> int:
        """Rows of the whole frame, in memory or not."""
        return self.parts.row_count if self.parts else len(self.rows)

    def rows_before(self, fold: Fold) -> int:
        """Number of rows that were known before ``fold``, in memory or not."""
        here = int(self.periods.train.sum())
        return int(fold.train.sum()) - here + self.periods.whole.get("train", (here, 0))[0]

    @property
    def days(self) -> np.ndarray[Any, Any]:
        """The day of each row's prediction, as a number, shape (rows,): the units of intervals."""
        return local_days(self.rows[PREDICTION_TIME], self.timezone)

    @property
    def early(self) -> np.ndarray[Any, Any]:
        """Mask of the rows before the held-out period whose outcome was known by then."""
        return self.periods.origins[0].train

    def release(self) -> None:
        """Remove the files on disk, after the training is recorded."""
        if self.parts:
            self.parts.remove()


def prepare(settings: Settings, spec: ModelSpec, as_of: datetime, overlay: int | None = None) -> TrainingData:
    """Retrieve the training frame of ``spec`` as known at ``as_of`` and cut it by time.

    ``overlay``: version of the label corrections (:mod:`feature_repo.frames.label_overrides`), newest by default.
    Parts on disk stay there until ``release`` is called, so that a training that was killed does not write them again.

    Raises:
        FrameError, SplitError, InputsError: there are not enough rows, or a rule for inputs does not fit them.
        LabelError: the label SQL returns a value other than true, false, 0, 1 or null.
    """
    parts = None
    if spec.fit.memory == "external":
        parts = build_parts(settings, spec, as_of, overlay)
        frame, periods = latest(settings, spec, as_of, parts)
        rows = frame.rows
    else:
        frame = training_frame(settings, spec, as_of, overlay)
        rows = frame.rows
        known_at = rows[[spec.requests.id]].merge(labels(settings, spec, as_of), on=spec.requests.id)[LABEL_KNOWN_AT]
        periods = split(rows[PREDICTION_TIME], known_at, rows["label"], as_of, spec.split)
    features = model_inputs(rows[frame.features])
    check_inputs(spec.name, spec.inputs, features[periods.train].tail(spec.tuning.most_rows))
    return TrainingData(frame, features, rows["label"].to_numpy(), periods, parts, spec.timezone)
