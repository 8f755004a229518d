"""Choose among the search's best trials over several validation windows: each is fitted again on the earlier folds.

A trial, and the iteration at which it was best, may be best in one window by chance; the mean over several consecutive
windows (rolling origin) reduces that effect.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.model import ModelSpec
from ray_cluster.cluster.capacity import share
from ray_cluster.cluster.connection import wait
from ray_cluster.evaluation.metrics import metric
from ray_cluster.training.data import Fold, TrainingData
from ray_cluster.training.families import Columns, columns_of, preprocessing
from ray_cluster.training.families.family import start
from ray_cluster.training.families.fit_steps import Rows
from ray_cluster.training.search import Search, TrialResult

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Chosen", "choose", "newest_scores", "window_scores"]

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Chosen:
    """The chosen point and its results on validation rows alone.

    Attributes:
        search: the search with the chosen trial first.
        y, scores, days: labels, out-of-fold scores and days of all validation windows in time order, shape (rows,).
        evidence: ``windows``: ``{start, end, rows, positives, train_rows}`` per fold; ``finalists``: ``{trial, family,
            iterations, metrics, mean, chosen}`` with a metric per fold.
    """

    search: Search
    y: Values
    scores: Values
    days: Values
    evidence: dict[str, Any]

    def refitted(self, search: Search) -> Chosen:
        """Use ``search``'s validation scores; if they are of another fit, only the last window remains."""
        if search.validation_scores is self.search.validation_scores:
            return self
        rows = len(search.validation_scores)
        return replace(self, search=search, y=self.y[-rows:], scores=search.validation_scores, days=self.days[-rows:])

    @property
    def trial(self) -> TrialResult:
        return self.search.best

    @property
    def recent(self) -> int:
        """The number of rows of the last window."""
        return int(self.evidence["windows"][-1]["rows"])


def choose(spec: ModelSpec, data: TrainingData, search: Search) -> Chosen:
    """Fit the best ``tuning.finalists`` trials again on the earlier folds, as Ray tasks, and choose the trial and
    number of iterations with the best mean metric, among the numbers that the search measured; with one fold the
    search's best trial is chosen. The held-out rows are not used."""
    folds = data.periods.folds
    windows = [_window(fold, data) for fold in folds]
    last = data.y[data.periods.validation]
    days = np.concatenate([data.days[fold.validation] for fold in folds])
    if not data.periods.earlier:
        entry = _entry(search.best, [search.metric], chosen=True)
        return Chosen(search, last, search.validation_scores, days, {"windows": windows, "finalists": [entry]})

    tried = [trial for trial in search.trials if trial.metric is not None][: spec.tuning.finalists]
    earlier = _scores(spec, data, [(trial, list(_looked_at(trial))) for trial in tried], data.periods.earlier)
    finalists, out_of_fold, measured = [], [], []
    for trial, found in zip(tried, earlier, strict=True):
        grid = np.array([*(_metrics(spec, data, fold, each) for fold, each in found), list(_looked_at(trial).values())])
        at = int(np.argmax(grid.mean(axis=0)))
        iterations = list(_looked_at(trial))[at]
        finalists.append(replace(trial, iterations=iterations, metric=float(grid[-1, at])))
        out_of_fold.append([scores[at] for _, scores in found])
        measured.append([float(value) for value in grid[:, at]])
    best = int(np.argmax([np.mean(metrics) for metrics in measured]))
    chosen, newest = finalists[best], search.validation_scores
    if best or chosen.iterations != search.best.iterations:
        newest = newest_scores(spec, data, chosen)
    others = [trial for trial in search.trials if trial is not tried[best]]
    entries = [
        _entry(trial, metrics, chosen=number == best)
        for number, (trial, metrics) in enumerate(zip(finalists, measured, strict=True))
    ]
    return Chosen(
        replace(search, trials=[chosen, *others], validation_scores=newest),
        np.concatenate([*(data.y[fold.validation] for fold in data.periods.earlier), last]),
        np.concatenate([*out_of_fold[best], newest]),
        days,
        {"windows": windows, "finalists": entries},
    )


def newest_scores(spec: ModelSpec, data: TrainingData, trial: TrialResult) -> Values:
    """Scores of ``trial`` on the last window, fitted on the search's rows, shape (validation,)."""
    return window_scores(spec, data, trial, newest=True)[0]


def window_scores(spec: ModelSpec, data: TrainingData, trial: TrialResult, newest: bool = False) -> list[Values]:
    """Scores of ``trial`` on each validation window, or on the last one alone, fitted on the search's rows before it,
    shape (rows of the window,) each."""
    folds = data.periods.folds[-1:] if newest else data.periods.folds
    [found] = _scores(spec, data, [(trial, [trial.iterations])], folds)
    return [scores[0] for _, scores in found]


def _looked_at(trial: TrialResult) -> dict[int, float]:
    """The numbers of iterations at which the search measured a trial, and its metric at each."""
    return {int(done): value for done, value in trial.history}


def _metrics(spec: ModelSpec, data: TrainingData, fold: Fold, scores: Values) -> list[float]:
    y, measure = data.y[fold.validation], metric(spec.tuning.metric)
    return [float(measure(y, each)) for each in scores]


def _scores(
    spec: ModelSpec, data: TrainingData, trials: list[tuple[TrialResult, list[int]]], folds: tuple[Fold, ...]
) -> list[list[tuple[Fold, Values]]]:
    """For each trial and fold, the validation scores after each of its numbers of iterations, shape (numbers, rows).

    One Ray task each, on rows that are put into the object store once per fold and family.
    """
    import ray

    tuning = spec.tuning
    fit = ray.remote(num_cpus=share(tuning.cpus_per_trial), num_gpus=tuning.gpus_per_trial)(_fit_and_score)
    tasks = []
    for fold in folds:
        rows = np.flatnonzero(fold.train)[-tuning.rows :]
        placed: dict[str, list[Any]] = {}
        for family in {trial.family for trial, _ in trials}:
            encode = preprocessing(data.features, spec.inputs, family).fit(data.features.iloc[rows])
            placed[family] = [
                ray.put(encode.transform(data.features.iloc[rows])),
                ray.put(data.y[rows]),
                ray.put(encode.transform(data.features[fold.validation])),
                columns_of(encode, spec.directions),
            ]
        tasks += [
            fit.remote(trial, at, tuning.seed, tuning.model_dump(mode="json"), *placed[trial.family])
            for trial, at in trials
        ]
    found = wait(tasks)
    return [list(zip(folds, found[number :: len(trials)], strict=True)) for number in range(len(trials))]


def _fit_and_score(
    trial: TrialResult,
    at: list[int],
    seed: int,
    tuning: dict[str, Any],
    x: Values,
    y: Values,
    x_validation: Values,
    columns: Columns,
) -> npt.NDArray[np.float32]:
    from threadpoolctl import threadpool_limits

    threads = max(1, int(tuning["cpus_per_trial"]))
    device = "cuda" if tuning["gpus_per_trial"] else "cpu"
    fit = start(trial.family, trial.params, Rows(x, y, columns=columns), seed, threads, device)
    validation, found = Rows(x_validation, np.zeros(len(x_validation)), columns=columns), []
    with threadpool_limits(threads):
        for iterations in at:
            fit.advance(iterations, lambda: False)
            found.append(np.array(fit.scores(validation), dtype=np.float32))
    return np.array(found)


def _window(fold: Fold, data: TrainingData) -> dict[str, Any]:
    return {
        "start": fold.start.isoformat(),
        "end": fold.end.isoformat(),
        "rows": int(fold.validation.sum()),
        "positives": int(data.y[fold.validation].sum()),
        "train_rows": int(fold.train.sum()),
    }


def _entry(trial: TrialResult, metrics: list[float], chosen: bool) -> dict[str, Any]:
    return {
        "trial": trial.trial,
        "family": trial.family,
        "iterations": trial.iterations,
        "metrics": [float(value) for value in metrics],
        "mean": float(np.mean(metrics)),
        "chosen": chosen,
    }
