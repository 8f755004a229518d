"""What of a frame on disk has to be in memory: the rows of search, validation and held-out period."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.frame_parts import FrameParts
from feature_repo.frames import LABEL_KNOWN_AT, PREDICTION_TIME, TrainingFrame, table_fingerprints
from ray_cluster.training.split import Periods, split

__all__ = ["latest"]


def latest(settings: Settings, spec: ModelSpec, as_of: datetime, parts: FrameParts) -> tuple[TrainingFrame, Periods]:
    """The end of the frame, from the first of the ``tuning.rows`` rows on that the first fold trains on; its periods.

    The periods' bounds and the training period's count are those of the whole.

    Raises:
        SplitError: a period lacks rows of either outcome.
    """
    import numpy as np
    import pandas as pd

    validation = as_of - spec.split.held_out - spec.split.folds * spec.split.validation
    kept: list[pd.DataFrame] = []
    trained = 0
    for part in parts.read(backwards=True):
        kept.append(part)
        trained += int(((part[PREDICTION_TIME] < validation) & (part[LABEL_KNOWN_AT] <= validation)).sum())
        if trained >= spec.tuning.rows:
            break
    rows = pd.concat(reversed(kept), ignore_index=True)
    train = (rows[PREDICTION_TIME] < validation) & (rows[LABEL_KNOWN_AT] <= validation)
    first = np.flatnonzero(train)[-spec.tuning.rows :][:1]
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
