"""Prepare a frame on disk for XGBoost: fit the preprocessing on it, and write each worker's share as files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from feature_repo.frames.frame_parts import FrameParts
from feature_repo.frames.training_frame import LABEL_KNOWN_AT, PREDICTION_TIME, model_inputs
from ray_cluster.training.data import known
from ray_cluster.training.distributed.shares import FileShare, deal
from ray_cluster.training.families import preprocessing

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd
    from sklearn.compose import ColumnTransformer

__all__ = ["encoder_of_parts", "shares_on_disk"]

#: Bins are stored on disk for more rows than this many parts have: in memory they use as much as one part in pandas.
PARTS_IN_MEMORY = 4


def encoder_of_parts(spec: ModelSpec, parts: FrameParts, until: datetime) -> ColumnTransformer:
    """Fit the preprocessing on every k-th row known at ``until``, at most ``fit.rows_per_part``, and one of each text.

    Texts therefore have the same codes as in memory, unless a column has more than get a code of their own: which are
    the rarest, and the medians and quantiles of cleaning, are those of the sample, and exact if all these rows fit in
    one part.
    """
    import pandas as pd

    total = sum(int(mask.sum()) for _, mask in _known(parts, until, [PREDICTION_TIME, LABEL_KNOWN_AT]))
    step = -(-total // spec.fit.rows_per_part)
    chosen: list[pd.DataFrame] = []
    seen: dict[str, set[Any]] = {}
    at = 0
    for part, mask in _known(parts, until, [PREDICTION_TIME, LABEL_KNOWN_AT, *parts.features]):
        rows = model_inputs(part.loc[mask, parts.features])
        regular = [number - at for number in range(-(-at // step) * step, at + len(rows), step)]
        at += len(rows)
        chosen.append(rows.iloc[regular])
        for name in rows:
            if rows[name].dtype == object:
                texts = seen.setdefault(name, set())
                texts |= set(chosen[-1][name].unique())
                new = rows[~rows[name].isin(texts)].drop_duplicates(name)
                texts |= set(new[name])
                chosen.append(new)
    sample = pd.concat(chosen, ignore_index=True)
    return preprocessing(sample, spec.inputs).fit(sample)


@contextmanager
def shares_on_disk(
    spec: ModelSpec,
    params: dict[str, Any],
    parts: FrameParts,
    until: datetime,
    encode: ColumnTransformer,
    paged: bool,
) -> Iterator[list[FileShare]]:
    """Write each worker's share of the rows known at ``until`` as files next to the parts, for the duration of the
    block.

    Args:
        params: of the trial; its ``class_weight`` becomes row weights.
        paged: bins may be stored on disk if there are many rows; on a GPU they must be in memory.
    """
    import numpy as np

    folder, workers = parts.folder / "shares", spec.fit.workers
    shutil.rmtree(folder, ignore_errors=True)  # left by a killed fit
    folder.mkdir()
    files: list[list[tuple[str, str]]] = [[] for _ in range(workers)]
    total = positives = 0
    for number, (part, mask) in enumerate(
        _known(parts, until, [PREDICTION_TIME, LABEL_KNOWN_AT, "label", *parts.features])
    ):
        if not mask.any():
            continue
        x = encode.transform(model_inputs(part.loc[mask, parts.features]))
        y = part.loc[mask, "label"].to_numpy("float32")
        for rank, pairs in enumerate(files):
            share_x, share_y = deal((rank - total) % workers, workers, x, y)
            if len(share_y):
                pair = tuple(str(folder / f"{number:05d}-{rank:04d}.{kind}.npy") for kind in "xy")
                np.save(pair[0], share_x)
                np.save(pair[1], share_y)
                pairs.append((pair[0], pair[1]))
        total, positives = total + len(y), positives + int(y.sum())
    on_disk = paged and total > PARTS_IN_MEMORY * spec.fit.rows_per_part
    try:
        weights = _class_weights(params.get("class_weight"), total - positives, positives)
        yield [
            FileShare(tuple(pairs), str(folder / f"bins-{rank:04d}"), on_disk, weights)
            for rank, pairs in enumerate(files)
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _class_weights(class_weight: Any, negatives: int, positives: int) -> tuple[float, float] | None:
    """Weights of labels 0 and 1, as in scikit-learn's ``compute_class_weight``."""
    if class_weight is None:
        return None
    if class_weight == "balanced":
        total = negatives + positives
        return total / (2 * negatives), total / (2 * positives)
    return float(class_weight.get(0, 1)), float(class_weight.get(1, 1))


def _known(parts: FrameParts, until: datetime, columns: list[str]) -> Iterator[tuple[pd.DataFrame, Any]]:
    """The parts one by one, each with the mask of its rows that were known at ``until``."""
    for part in parts.read(columns):
        yield part, known(part[PREDICTION_TIME], part[LABEL_KNOWN_AT], until)
