"""What a training works on: the labelled frame, its model inputs, and which rows belong to which period."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.frame_parts import FrameParts, build_parts
from feature_repo.frames import LABEL_KNOWN_AT, PREDICTION_TIME, TrainingFrame, labels, model_inputs, training_frame
from ray_cluster.training.fitting.latest import latest
from ray_cluster.training.inputs import check_inputs
from ray_cluster.training.split import Periods, split

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["TrainingData", "prepare"]


@dataclass(frozen=True)
class TrainingData:
    """Rows in the order of their prediction time; where the frame is on disk, the latest of them.

    Attributes:
        frame: what was retrieved: ``frame.rows`` has id, entities, fields, ``prediction_time``, label and features.
            Its fingerprints are those of all rows.
        features: the model's inputs, shape (rows, features): text or float64.
        y: labels 0 or 1, shape (rows,).
        periods: row masks of training, validation and held-out period.
        parts: all rows, where they do not have to fit in memory (``fit.memory: external``); the final fit takes these.
    """

    frame: TrainingFrame
    features: pd.DataFrame
    y: np.ndarray[Any, Any]
    periods: Periods
    parts: FrameParts | None = None

    @property
    def rows(self) -> pd.DataFrame:
        return self.frame.rows

    @property
    def row_count(self) -> int:
        """Rows of the whole frame, in memory or not."""
        return self.parts.row_count if self.parts else len(self.rows)

    @property
    def days(self) -> np.ndarray[Any, Any]:
        """The day of each row's prediction, as a number, shape (rows,): what a bootstrap draws."""
        days: np.ndarray[Any, Any] = self.rows[PREDICTION_TIME].dt.floor("D").astype("int64").to_numpy()
        return days

    @property
    def early(self) -> np.ndarray[Any, Any]:
        """Mask of everything before the held-out period whose outcome was known by then: what a fit takes."""
        early: np.ndarray[Any, Any] = self.periods.train | self.periods.validation
        return early

    def release(self) -> None:
        """Remove what is on disk, once the training is on record."""
        if self.parts:
            self.parts.remove()


def prepare(settings: Settings, spec: ModelSpec, as_of: datetime, overlay: int | None = None) -> TrainingData:
    """Retrieve the training frame of ``spec`` as known at ``as_of`` and cut it by time.

    ``overlay``: the version of the label corrections (:mod:`feature_repo.relabels`), the newest by default.
    Parts on disk stay there until ``release`` is called, so that a killed training need not make them again.

    Raises:
        FrameError, SplitError, InputsError: there are not enough rows, or a rule for inputs does not fit them.
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
    check_inputs(spec.name, spec.inputs, features[periods.train].tail(spec.tuning.rows))
    return TrainingData(frame, features, rows["label"].to_numpy(), periods, parts)
