"""Choose among the search's best trials over several validation windows: each is fitted again on the earlier folds.

A trial, and the iteration at which it was best, may be best in one window by chance; the mean over several consecutive
windows (rolling origin) reduces that effect.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.model import ModelSpec
from ray_cluster.cluster.capacity import share
from ray_cluster.cluster.connection import wait
from ray_cluster.evaluation.metrics import metric
from ray_cluster.training.data import Fold, TrainingData
from ray_cluster.training.families import Columns, columns_of, preprocessing
from ray_cluster.training.families.blend import blended, stacked_weights
from ray_cluster.training.families.family import fit_class, start
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


@dataclass(frozen=True)
class _Finalist:
    """A trial with its best number of iterations, its metric on each window, and its scores on the windows, or on all
    but the last."""

    trial: TrialResult
    metrics: list[float]
    scores: list[Values]

    @property
    def mean(self) -> float:
        return float(np.mean(self.metrics))


def choose(spec: ModelSpec, data: TrainingData, search: Search) -> Chosen:
    """Fit the best ``tuning.finalists`` trials again on the earlier folds, as Ray tasks, and choose the trial and
    number of iterations with the best mean metric, among the numbers that the search measured. With ``tuning.blend``
    the finalists together are one more. With one fold and no blend the search's best trial is chosen. The held-out rows
    are not used."""
    periods = data.periods
    y = [data.y[fold.validation] for fold in periods.folds]
    measured = [trial for trial in search.trials if trial.metric is not None]
    blends = spec.tuning.blend != "none"
    tried = measured[: spec.tuning.finalists if periods.earlier or blends else 1]
    windows = periods.folds if blends else periods.earlier
    measured_on = _scores(spec, data, [(trial, list(_looked_at(trial))) for trial in tried], windows)
    finalists = [_finalist(spec, y, trial, found) for trial, found in zip(tried, measured_on, strict=True)]
    best = max(finalists, key=lambda each: each.mean)
    if blends and len(finalists) > 1:
        finalists.append(_blend(spec, y, finalists, str(len(search.trials))))
        best = max(best, finalists[-1], key=lambda each: each.mean)
    chosen = _completed(spec, data, search, best)
    others = [trial for trial in search.trials if trial.trial != chosen.trial.trial]
    return Chosen(
        replace(search, trials=[chosen.trial, *others], validation_scores=chosen.scores[-1]),
        np.concatenate(y),
        np.concatenate(chosen.scores),
        np.concatenate([data.days[fold.validation] for fold in periods.folds]),
        {
            "windows": [_window(fold, data) for fold in periods.folds],
            "finalists": [_entry(each, each is best) for each in finalists],
        },
    )


def _finalist(spec: ModelSpec, y: list[Values], trial: TrialResult, found: list[Values]) -> _Finalist:
    """``trial`` at its best number of iterations.

    Args:
        y: labels of each window.
        found: its scores on each window, or on all but the last, after each number of iterations, shape (numbers,
            rows).
    """
    looked_at, measure = _looked_at(trial), metric(spec.tuning.metric)
    grid = np.array(
        [
            *([float(measure(labels, each)) for each in scores] for labels, scores in zip(y[:-1], found, strict=False)),
            list(looked_at.values()),
        ]
    )
    at = int(np.argmax(grid.mean(axis=0)))
    point = replace(trial, iterations=list(looked_at)[at], metric=float(grid[-1, at]))
    return _Finalist(point, [float(value) for value in grid[:, at]], [scores[at] for scores in found])


def _completed(spec: ModelSpec, data: TrainingData, search: Search, finalist: _Finalist) -> _Finalist:
    """The finalist with its scores on the last window, too; of its best trial, the search has them."""
    if len(finalist.scores) == len(data.periods.folds):
        return finalist
    known = (finalist.trial.trial, finalist.trial.iterations) == (search.best.trial, search.best.iterations)
    newest = search.validation_scores if known else newest_scores(spec, data, finalist.trial)
    return replace(finalist, scores=[*finalist.scores, newest])


def _blend(spec: ModelSpec, y: list[Values], members: list[_Finalist], number: str) -> _Finalist:
    """The blend of ``members``. Stacked, its metric on each window is that of the weights chosen on the others."""
    windows = range(len(y))

    def weights(chosen_on: Iterable[int]) -> tuple[float, ...]:
        if spec.tuning.blend == "mean":
            return (0.0, *[1 / len(members)] * len(members))
        used = list(chosen_on)
        scores = [np.concatenate([each.scores[at] for at in used]) for each in members]
        return stacked_weights(np.concatenate([y[at] for at in used]), scores)

    def scores(at: int, by: tuple[float, ...]) -> Values:
        return blended([each.scores[at] for each in members], by).astype(np.float32)

    measure, final = metric(spec.tuning.metric), weights(windows)
    metrics = [float(measure(y[at], scores(at, weights(other for other in windows if other != at)))) for at in windows]
    trials = tuple(each.trial for each in members)
    iterations = sum(trial.iterations for trial in trials)
    blend = TrialResult(
        trial=number,
        family="blend",
        params={},
        status="finished",
        iterations=iterations,
        metric=metrics[-1],
        seconds=sum(trial.seconds for trial in trials),
        history=[[float(iterations), metrics[-1]]],
        cpu_seconds=sum(trial.cpu_seconds for trial in trials),
        members=trials,
        weights=final,
    )
    return _Finalist(blend, metrics, [scores(at, final) for at in windows])


def newest_scores(spec: ModelSpec, data: TrainingData, trial: TrialResult) -> Values:
    """Scores of ``trial`` on the last window, fitted on the search's rows, shape (validation,)."""
    return window_scores(spec, data, trial, newest=True)[0]


def window_scores(spec: ModelSpec, data: TrainingData, trial: TrialResult, newest: bool = False) -> list[Values]:
    """Scores of ``trial`` on each validation window, or on the last one alone, fitted on the search's rows before it,
    shape (rows of the window,) each."""
    folds = data.periods.folds[-1:] if newest else data.periods.folds
    [found] = _scores(spec, data, [(trial, [trial.iterations])], folds)
    return [scores[0] for scores in found]


def _looked_at(trial: TrialResult) -> dict[int, float]:
    """The numbers of iterations at which the search measured a trial, and its metric at each."""
    return {int(done): value for done, value in trial.history}


def _scores(
    spec: ModelSpec, data: TrainingData, trials: list[tuple[TrialResult, list[int]]], folds: tuple[Fold, ...]
) -> list[list[Values]]:
    """For each trial and fold, the validation scores after each of its numbers of iterations, shape (numbers, rows).

    One Ray task each, on rows that are put into the object store once per fold and encoding.
    """
    import ray

    tuning = spec.tuning
    fit = ray.remote(num_cpus=share(tuning.cpus_per_trial), num_gpus=tuning.gpus_per_trial)(_fit_and_score)
    fits = [
        (part, [part.iterations] if trial.members else at, fit_class(part.family).encoding)
        for trial, at in trials
        for part in trial.parts
    ]
    tasks = []
    for fold in folds:
        rows = np.flatnonzero(fold.train)[-tuning.most_rows :]
        placed: dict[str, list[Any]] = {}
        for encoding, family in {encoding: part.family for part, _, encoding in fits}.items():
            encode = preprocessing(data.features, spec.inputs, family).fit(data.features.iloc[rows])
            placed[encoding] = [
                ray.put(encode.transform(data.features.iloc[rows])),
                ray.put(data.y[rows]),
                ray.put(encode.transform(data.features[fold.validation])),
                columns_of(encode, spec.directions),
            ]
        tasks += [
            fit.remote(part, at, tuning.seed, tuning.model_dump(mode="json"), *placed[encoding])
            for part, at, encoding in fits
        ]
    found = iter(wait(tasks))
    windows = [[_joined(trial, [next(found) for _ in trial.parts]) for trial, _ in trials] for _ in folds]
    return [[window[number] for window in windows] for number in range(len(trials))]


def _joined(trial: TrialResult, found: list[Values]) -> Values:
    """Scores of a trial from those of its parts, shape (numbers, rows) each."""
    if not trial.members:
        return found[0]
    return blended([scores[0] for scores in found], trial.weights).astype(np.float32)[None]


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
    fit = start(trial.family, trial.params, Rows(x, y, columns=columns).latest(trial.rows), seed, threads, device)
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


def _entry(finalist: _Finalist, chosen: bool) -> dict[str, Any]:
    return {
        "trial": finalist.trial.trial,
        "family": finalist.trial.family,
        "iterations": finalist.trial.iterations,
        "metrics": finalist.metrics,
        "mean": finalist.mean,
        "chosen": chosen,
    }
