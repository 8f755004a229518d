"""How much the metric of a fit depends on its seed: the chosen point is fitted with other seeds on the same windows.

Two versions of one recipe differ by their seeds alone; a gate that compares them has to know by how much.
"""

from __future__ import annotations

from math import ceil

import numpy as np

from configs.model import ModelSpec
from ray_cluster.evaluation.metrics import ranking
from ray_cluster.training.data import TrainingData
from ray_cluster.training.finalists import Chosen, window_scores

__all__ = ["seed_noise"]

#: Minimum of degrees of freedom of the estimate.
_FREEDOM = 3


def seed_noise(spec: ModelSpec, data: TrainingData, chosen: Chosen) -> dict[str, float]:
    """Standard deviation of each ranking metric between seeds, and ``freedom``, the degrees of freedom of the estimate.

    The chosen point is fitted again on the search's rows before each validation window, with one other seed, or with
    more if there are few windows. The windows' variances are averaged.
    """
    folds = data.periods.folds
    more = ceil(_FREEDOM / len(folds))
    ends = np.cumsum([int(fold.validation.sum()) for fold in folds])
    found = [np.split(chosen.scores[-ends[-1] :], ends[:-1])]
    for number in range(1, more + 1):
        tuning = spec.tuning.model_copy(update={"seed": spec.tuning.seed + number})
        found.append(window_scores(spec.model_copy(update={"tuning": tuning}), data, chosen.trial))
    values = [
        [ranking(data.y[fold.validation], scores[at]) for scores in found] for at, fold in enumerate(folds)
    ]  # per window and seed
    noise = {
        name: float(np.sqrt(np.mean([np.var([each[name] for each in seeds], ddof=1) for seeds in values])))
        for name in values[0][0]
    }
    return {**noise, "freedom": float(more * len(folds))}
