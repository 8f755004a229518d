"""What corrections in a training change, on flights: class weights, float32 when served, and the threshold's window.

    python -m benchmarks.corrections HOME

HOME is that of an environment whose ``flight_delay`` data are ingested and materialized; its stack need not be up. Each
table has the value without the correction beside the one with it.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import numpy as np
from sklearn.metrics import f1_score, precision_recall_curve

from configs import load_model, load_settings
from ray_cluster.evaluation.metrics import f1_threshold
from ray_cluster.training.data import TrainingData, prepare
from ray_cluster.training.families import Rows, columns_of, preprocessing, start
from ray_cluster.training.families.fit_steps import NUMBERS
from ray_cluster.training.families.prior import corrected, weight_shift

POINT = {"learning_rate": 0.1, "max_depth": 6, "min_child_weight": 10}
ROUNDS = 150


def scores(
    family: str, params: dict[str, Any], data: TrainingData, train: Any, later: Any, most: int = 10**9
) -> np.ndarray:
    """Scores of the ``later`` rows by a fit on the latest of the ``train`` rows, at ``most`` so many."""
    rows = np.flatnonzero(train)[-most:]
    encode = preprocessing(data.features, family=family).fit(data.features.iloc[rows])
    x, columns = encode.transform(data.features.iloc[rows]), columns_of(encode)
    fit = start(family, params, Rows(x, data.y[rows], columns=columns), 0, 2)
    fit.advance(ROUNDS, lambda: False)
    return fit.predict(encode.transform(data.features[later]))


def class_weights(data: TrainingData) -> None:
    """Mean score of a balanced fit."""
    rows = np.flatnonzero(data.early)
    shift = weight_shift(data.y[rows], Rows(data.features, data.y[rows], columns=NUMBERS).weighted("balanced").weights)
    found = scores("xgboost", POINT | {"class_weight": "balanced"}, data, data.early, data.periods.held_out)
    print(
        "| class_weight: balanced | share of positives | mean score before | with the correction |\n|---|---|---|---|"
    )
    rate = data.y[data.periods.held_out].mean()
    print(f"| held-out rows | {rate:.3f} | {corrected(found, -shift).mean():.3f} | {found.mean():.3f} |\n")


def served(data: TrainingData) -> None:
    """Rows that HistGradientBoosting scores otherwise in float64 than in float32, on which it was fitted."""
    from sklearn.compose import ColumnTransformer

    rows, held_out = np.flatnonzero(data.early), data.features[data.periods.held_out]
    encode = preprocessing(data.features, family="hist_gradient_boosting").fit(data.features.iloc[rows])
    x = encode.transform(data.features.iloc[rows])
    fit = start(
        "hist_gradient_boosting", {"learning_rate": 0.1}, Rows(x, data.y[rows], columns=columns_of(encode)), 0, 2
    )
    fit.advance(ROUNDS, lambda: False)
    plain, fitted_on = ColumnTransformer.transform(encode, held_out), encode.transform(held_out)
    differ = np.abs(fit.predict(plain) - fit.predict(fitted_on))
    print("| HistGradientBoosting | rows with another score | largest difference |\n|---|---|---|")
    print(f"| served in float64, before | {np.mean(differ > 1e-9):.1%} | {differ.max():.3f} |")
    print("| served in float32 | 0.0% | 0.000 |\n")


def thresholds(data: TrainingData) -> None:
    """F1 on the held-out rows at thresholds chosen on the validation windows."""
    folds = data.periods.folds
    windows = [scores("xgboost", POINT, data, fold.train, fold.validation, 80_000) for fold in folds]
    y = [data.y[fold.validation] for fold in folds]
    held_out, truth = scores("xgboost", POINT, data, data.early, data.periods.held_out), data.y[data.periods.held_out]
    pooled, labels = np.concatenate(windows), np.concatenate(y)
    rate = float(y[-1].mean())
    odds = [share / (1 - share) for share in (rate, labels.mean())]
    weighted = Rows(pooled, labels, columns=NUMBERS).weighted({0: 1.0, 1: odds[0] / odds[1]}).weights
    _, _, cuts = curve = precision_recall_curve(labels, pooled, sample_weight=weighted)
    shifted = cuts[np.argmax((2 * curve[0] * curve[1] / (curve[0] + curve[1] + 1e-12))[:-1])]
    precision, recall, _ = precision_recall_curve(truth, held_out)
    chosen = {
        "all windows as they are, before": f1_threshold(labels, pooled),
        "all windows, positives weighted to the last one's share": shifted,
        "the last window": f1_threshold(y[-1], windows[-1]),
    }
    print(f"positives: {labels.mean():.3f} of all windows, {rate:.3f} of the last, {truth.mean():.3f} held out\n")
    print("| threshold chosen on | threshold | held-out F1 |\n|---|---|---|")
    for name, threshold in chosen.items():
        print(f"| {name} | {threshold:.3f} | {f1_score(truth, held_out >= threshold):.4f} |")
    print(
        f"| held-out rows (the best possible) | | {np.max(2 * precision * recall / (precision + recall + 1e-12)):.4f} |"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home")
    settings = load_settings(None, {"HEADRACE_HOME": parser.parse_args().home})
    os.environ.update(settings.variables())
    data = prepare(settings, load_model("flight_delay"), settings.demo.as_of)
    class_weights(data)
    served(data)
    thresholds(data)


if __name__ == "__main__":
    main()
