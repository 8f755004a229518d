"""What the age of a view's row is worth as a feature, on flights.

    python -m benchmarks.ages HOME [--model flight_delay] [--seeds 1]

HOME is that of an environment whose data of the model are ingested and materialized; its stack need not be up. One
XGBoost point is fitted on all rows before the held-out period, with all ages, without them, and with one of them at a
time; all else is the same. Printed are the held-out average precision and the gain over the fit without ages, with its
paired interval over days; with several seeds, of the mean scores.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from configs import load_model, load_settings
from ray_cluster.evaluation.intervals import Gain, paired_gain
from ray_cluster.training.data import TrainingData, prepare
from ray_cluster.training.families import Rows, columns_of, preprocessing, start

POINT = {"learning_rate": 0.1, "max_depth": 6, "min_child_weight": 10, "subsample": 0.8, "colsample_bytree": 0.7}
ROUNDS = 150


def load(home: str, model: str) -> TrainingData:
    """The training data of the model, as of the example's last moment."""
    settings = load_settings(None, {"HEADRACE_HOME": home})
    os.environ.update(settings.variables())
    return prepare(settings, load_model(model), settings.demo.as_of)


def held_out_scores(data: TrainingData, features: pd.DataFrame, seeds: int) -> np.ndarray:
    """Mean scores of the held-out rows by fits with these features, shape (rows,)."""
    train, held_out = np.flatnonzero(data.early), features[data.periods.held_out]
    encode = preprocessing(features).fit(features.iloc[train])
    x, later = encode.transform(features.iloc[train]), encode.transform(held_out)
    found = []
    for seed in range(seeds):
        fit = start("xgboost", POINT, Rows(x, data.y[train], columns=columns_of(encode)), seed, 2)
        fit.advance(ROUNDS, lambda: False)
        found.append(fit.predict(later))
    return np.mean(found, axis=0)


def gain(data: TrainingData, before: np.ndarray, after: np.ndarray) -> Gain:
    """Gain in held-out average precision."""
    held_out = data.periods.held_out
    return paired_gain(data.y[held_out], before, after, data.days[held_out], "average_precision")


def compare(data: TrainingData, ages: Sequence[str], seeds: int) -> None:
    """Print the table."""
    truth = data.y[data.periods.held_out]
    base = held_out_scores(data, data.features.drop(columns=list(ages)), seeds)
    print("| ages | features | average precision | gain (95 %) |\n|---|---|---|---|")
    print(f"| none | {data.features.shape[1] - len(ages)} | {average_precision_score(truth, base):.4f} | |", flush=True)
    for name, kept in {**{age: [age] for age in ages}, "all": list(ages)}.items():
        features = data.features.drop(columns=[age for age in ages if age not in kept])
        scores = held_out_scores(data, features, seeds)
        found = gain(data, base, scores)
        print(
            f"| {name} | {features.shape[1]} | {average_precision_score(truth, scores):.4f} "
            f"| {found.gain:+.4f} ({found.low:+.4f} to {found.high:+.4f}) |",
            flush=True,
        )


def main() -> None:
    """Load the data and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home")
    parser.add_argument("--model", default="flight_delay")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    data = load(given.home, given.model)
    compare(data, [name for name in data.features if name.endswith("_age_hours")], given.seeds)


if __name__ == "__main__":
    main()
