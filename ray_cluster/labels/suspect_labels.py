"""Suspect labels by confident learning: C. Northcutt, L. Jiang, I. Chuang, JAIR 70, 2021; cleanlab is by them.

A label is suspect if a model that was not fitted on the row, nor on any other of its period, gives the other outcome a
higher probability than the average probability of that outcome among the rows labelled with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from configs.errors import HeadraceError
from configs.model import InputRule

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["OutOfFold", "SuspectError", "blocks_of_time", "mattering", "out_of_fold", "suspects"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

#: The model for the probabilities is simple on purpose: it judges labels and is not served.
_POINT = {"max_depth": 5, "learning_rate": 0.1, "min_child_weight": 5, "subsample": 0.8, "colsample_bytree": 0.7}
_ROUNDS = 120


class SuspectError(HeadraceError, ValueError):
    """No label can be judged on these rows; the message is one sentence."""


@dataclass(frozen=True)
class OutOfFold:
    """Probabilities of the positive outcome from models not fitted on the row, shape (rows,), and contributions.

    ``contributions``: log-odds by input, shape (rows, inputs), float32 (XGBoost's SHAP values), named by ``inputs``.
    """

    probability: Floats
    contributions: npt.NDArray[np.float32]
    inputs: list[str]


def blocks_of_time(rows: int, folds: int) -> list[Places]:
    """Positions of rows in time order, cut into ``folds`` consecutive periods."""
    return list(np.array_split(np.arange(rows), folds))


def out_of_fold(
    features: pd.DataFrame, y: Places, seed: int, inputs: Mapping[str, InputRule] | None = None, folds: int = 5
) -> OutOfFold:
    """Score each period of time with a model fitted on all other periods, before and after it.

    Later rows may judge earlier ones: a label is about the past, and no future value is predicted here.

    Args:
        features, y: model inputs and labels 0 or 1, in time order.

    Raises:
        SuspectError: the rows outside a period have only one outcome.
    """
    from ray_cluster.evaluation.importance import contributions
    from ray_cluster.training.families import columns_of, fit_steps, preprocessing

    probability = np.full(len(y), np.nan)
    found: list[npt.NDArray[np.float32]] = []
    names: list[str] = []
    for block in blocks_of_time(len(y), folds):
        rest = np.setdiff1d(np.arange(len(y)), block)
        if len(np.unique(y[rest])) < 2:
            raise SuspectError(
                f"The {len(y)} labelled rows outside one fifth of the time all have the label {int(y[rest][0])}; "
                "labels can be judged only if both occur. Ingest more history."
            )
        encode = preprocessing(features, inputs or {}).fit(features.iloc[rest])
        x = encode.transform(features.iloc[rest])
        threads, columns = os.cpu_count() or 1, columns_of(encode)
        model = fit_steps("xgboost", dict(_POINT), x, y[rest], _ROUNDS, seed, threads, columns=columns)
        mine = encode.transform(features.iloc[block])
        probability[block] = model.predict_proba(mine)[:, 1]
        moved = contributions(model, mine)
        assert moved is not None  # XGBoost has them
        found.append(np.asarray(moved[:, :-1], dtype=np.float32))
        names = [str(name) for name in encode.get_feature_names_out()]
    return OutOfFold(probability, np.vstack(found), names)


def suspects(y: Places, probability: Floats) -> Places:
    """Positions of the labels that confident learning classifies as errors, the least plausible first.

    Their number is its estimate of the noise, per direction ("prune by noise rate"); they are sorted by the probability
    of the given label.

    Args:
        y, probability: labels 0 or 1, and the probability of 1 from models not fitted on the row, shape (rows,).
    """
    from cleanlab.filter import find_label_issues

    both = np.column_stack([1 - probability, probability])
    found = find_label_issues(y, both, return_indices_ranked_by="self_confidence", n_jobs=1)
    return np.asarray(found, dtype=np.int64)


def mattering(out: OutOfFold, values: Any, place: int, count: int = 3) -> str:
    """The inputs that moved a row's score most, with their values: ``amount = 812 (+1.4); hour = 3 (+0.2)``.

    Args:
        values: column -> value of the row, as in the model's inputs.
    """
    moved = out.contributions[place]
    most = np.argsort(-np.abs(moved))[:count]
    return "; ".join(f"{out.inputs[each]} = {_shown(values, out.inputs[each])} ({moved[each]:+.2f})" for each in most)


def _shown(values: Any, name: str) -> str:
    value = values.get(name)
    if value is None or (isinstance(value, float) and isnan(value)):
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
