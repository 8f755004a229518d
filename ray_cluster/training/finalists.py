"""The choice among the search's best over several validation windows: each is fitted again on the earlier folds.

One window has one season's luck; the mean over windows that follow one another (rolling origin) has less of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.model import ModelSpec
from ray_cluster.cluster import wait
from ray_cluster.evaluation.metrics import ranking
from ray_cluster.training.data import TrainingData
from ray_cluster.training.families import fit_steps, preprocessing
from ray_cluster.training.search import Search, TrialResult
from ray_cluster.training.split import Fold

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Chosen", "choose"]

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Chosen:
    """The point that was chosen and what is known of it from validation alone.

    Attributes:
        search: the search with the chosen trial first.
        y, scores, days: labels, out-of-fold scores and days of all validation windows in time order, shape (rows,).
        evidence: ``windows``: ``{start, end, rows, positives, train_rows}`` per fold; ``finalists``: ``{trial, family,
            metrics, mean, chosen}`` with a metric per fold.
    """

    search: Search
    y: Values
    scores: Values
    days: Values
    evidence: dict[str, Any]

    def refitted(self, search: Search) -> Chosen:
        """With ``search``'s validation scores, where they are of another fit: then the last window is all there is."""
        if search.validation_scores is self.search.validation_scores:
            return self
        rows = len(search.validation_scores)
        return replace(self, search=search, y=self.y[-rows:], scores=search.validation_scores, days=self.days[-rows:])

    @property
    def trial(self) -> TrialResult:
        return self.search.best


def choose(spec: ModelSpec, data: TrainingData, search: Search) -> Chosen:
    """Refit the best ``tuning.finalists`` trials on the earlier folds, as Ray tasks, and take the best mean metric;
    with one fold the search's best stands. The held-out rows are not looked at."""
    folds = data.periods.folds
    windows = [_window(fold, data) for fold in folds]
    last = data.y[data.periods.validation]
    days = np.concatenate([data.days[fold.validation] for fold in folds])
    if not data.periods.earlier:
        entry = _entry(search.best, [_metric(search.best)], chosen=True)
        return Chosen(search, last, search.validation_scores, days, {"windows": windows, "finalists": [entry]})

    finalists = [trial for trial in search.trials if trial.metric is not None][: spec.tuning.finalists]
    earlier = _scores(spec, data, finalists, data.periods.earlier)
    measured = [
        [
            *(
                ranking(data.y[fold.validation], scores)[spec.tuning.metric]
                for fold, scores in zip(data.periods.earlier, found, strict=True)
            ),
            _metric(trial),
        ]
        for trial, found in zip(finalists, earlier, strict=True)
    ]
    best = int(np.argmax([np.mean(metrics) for metrics in measured]))
    newest = search.validation_scores if best == 0 else _scores(spec, data, [finalists[best]], folds[-1:])[0][0]
    trials = [finalists[best], *(trial for trial in search.trials if trial is not finalists[best])]
    return Chosen(
        replace(search, trials=trials, validation_scores=newest),
        np.concatenate([*(data.y[fold.validation] for fold in data.periods.earlier), last]),
        np.concatenate([*earlier[best], newest]),
        days,
        {
            "windows": windows,
            "finalists": [
                _entry(trial, metrics, chosen=number == best)
                for number, (trial, metrics) in enumerate(zip(finalists, measured, strict=True))
            ],
        },
    )


def _scores(
    spec: ModelSpec, data: TrainingData, trials: list[TrialResult], folds: tuple[Fold, ...]
) -> list[list[Values]]:
    """Validation scores per trial and fold; one Ray task each, on rows that are placed once per fold and family."""
    import ray

    tuning = spec.tuning
    fit = ray.remote(num_cpus=tuning.cpus_per_trial, num_gpus=tuning.gpus_per_trial)(_fit_and_score)
    tasks = []
    for fold in folds:
        rows = np.flatnonzero(fold.train)[-tuning.rows :]
        placed: dict[str, list[Any]] = {}
        for family in {trial.family for trial in trials}:
            encode = preprocessing(data.features, spec.inputs, family).fit(data.features.iloc[rows])
            placed[family] = [
                ray.put(encode.transform(data.features.iloc[rows]).astype("float32")),
                ray.put(data.y[rows]),
                ray.put(encode.transform(data.features[fold.validation]).astype("float32")),
            ]
        tasks += [
            fit.remote(trial, tuning.seed, tuning.model_dump(mode="json"), *placed[trial.family]) for trial in trials
        ]
    found = wait(tasks)
    return [found[number :: len(trials)] for number in range(len(trials))]


def _fit_and_score(
    trial: TrialResult,
    seed: int,
    tuning: dict[str, Any],
    x: Values,
    y: Values,
    x_validation: Values,
) -> npt.NDArray[np.float32]:
    classifier = fit_steps(
        trial.family,
        trial.params,
        x,
        y,
        trial.iterations,
        seed,
        threads=max(1, int(tuning["cpus_per_trial"])),
        device="cuda" if tuning["gpus_per_trial"] else "cpu",
    )
    return np.asarray(classifier.predict_proba(x_validation)[:, 1], dtype=np.float32)


def _window(fold: Fold, data: TrainingData) -> dict[str, Any]:
    return {
        "start": fold.start.isoformat(),
        "end": fold.end.isoformat(),
        "rows": int(fold.validation.sum()),
        "positives": int(data.y[fold.validation].sum()),
        "train_rows": int(fold.train.sum()),
    }


def _metric(trial: TrialResult) -> float:
    return float("nan") if trial.metric is None else trial.metric


def _entry(trial: TrialResult, metrics: list[float], chosen: bool) -> dict[str, Any]:
    return {
        "trial": trial.trial,
        "family": trial.family,
        "metrics": [float(value) for value in metrics],
        "mean": float(np.mean(metrics)),
        "chosen": chosen,
    }
