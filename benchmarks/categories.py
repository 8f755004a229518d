"""Texts as native categories beside codes that are numbers, and directions as monotone constraints.

    python -m benchmarks.categories HOME [--models flight_delay] [--part categories] [--rows 80000] [--seeds 2]

HOME is that of an environment whose data of the given models are ingested and materialized; its stack need not be up.
One point of each family is fitted on the latest rows before the held-out period, with each treatment of the same texts:
those of the model's features, and with the request's entities (carrier, origin, …) as further texts. Scores are means
over the seeds, so that an interval of the gain (a paired t interval over days) is of the treatment, not of a seed.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from configs import load_model, load_settings
from configs.evaluation import Direction
from configs.model import InputRule, ModelSpec
from ray_cluster.evaluation.behaviour import run_behaviour
from ray_cluster.evaluation.intervals import paired_gain
from ray_cluster.training.data import TrainingData, prepare
from ray_cluster.training.families import assemble, columns_of, fit_steps, preprocessing

POINTS: dict[str, dict[str, Any]] = {
    "xgboost": {
        "learning_rate": 0.06,
        "max_depth": 6,
        "min_child_weight": 20,
        "subsample": 0.8,
        "colsample_bytree": 0.6,
    },
    "hist_gradient_boosting": {
        "learning_rate": 0.06,
        "max_leaf_nodes": 31,
        "min_samples_leaf": 40,
        "max_features": 0.6,
    },
}
ROUNDS = 120
#: Maximum of categories -> its name in the table; 0 makes codes numbers.
TREATMENTS = {0: "codes as numbers", 32: "32 categories", 254: "254 categories"}


def fitted(
    family: str,
    x: pd.DataFrame,
    y: Any,
    rows: Any,
    seeds: int,
    threads: int,
    rules: dict[str, InputRule],
    directions: dict[str, int] | None = None,
) -> list[Any]:
    """One pipeline per seed."""
    encode = preprocessing(x, rules, family).fit(x.iloc[rows])
    encoded, columns = encode.transform(x.iloc[rows]), columns_of(encode, directions)
    found = [
        fit_steps(family, POINTS[family], encoded, y[rows], ROUNDS, seed, threads, columns=columns)
        for seed in range(seeds)
    ]
    return [assemble(encode, each) for each in found]


def mean_scores(pipelines: list[Any], x: pd.DataFrame) -> np.ndarray:
    """Mean of the pipelines' scores, shape (rows,)."""
    return np.asarray(np.mean([each.predict_proba(x)[:, 1] for each in pipelines], axis=0))


def gain_text(y: Any, base: np.ndarray, scores: np.ndarray, days: Any) -> str:
    """A gain in average precision with its interval."""
    if base is scores:
        return ""
    found = paired_gain(y, base, scores, days, "average_precision")
    return f"{found.gain:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def with_entities(spec: ModelSpec, data: TrainingData, names: list[str]) -> pd.DataFrame:
    """The model's inputs, and these entities of the request as texts."""
    added = {f"request_{name}": data.rows[name].astype(object) for name in names}
    return data.features.assign(**{name: each.where(each.notna(), None) for name, each in added.items()})


def categories(spec: ModelSpec, data: TrainingData, rows: Any, seeds: int, threads: int) -> None:
    """A row per family, set of texts and treatment."""
    held_out = data.periods.held_out
    y, days = data.y[held_out], data.days[held_out]
    entities = list(spec.requests.entities)
    few = [name for name in entities if data.rows[name].iloc[rows].nunique() <= max(TREATMENTS)]
    sets = {"its texts": [], f"and {', '.join(few)}": few, f"and {', '.join(entities)}": entities}
    for family in POINTS:
        first = None
        for what, names in sets.items():
            x = with_entities(spec, data, names)
            texts = [name for name in x if x[name].dtype == object]
            base = None
            for most, treatment in TREATMENTS.items():
                if most == min(TREATMENTS.keys() - {0}) and not names:  # hardly fewer than they are
                    continue
                started = perf_counter()
                rules = {name: InputRule(categories=most) for name in texts}
                scores = mean_scores(fitted(family, x, data.y, rows, seeds, threads, rules), x[held_out])
                seconds = (perf_counter() - started) / seeds
                base, first = (scores if base is None else base), (scores if first is None else first)
                print(
                    f"| {spec.name} | {family} | {what} | {treatment} | {average_precision_score(y, scores):.4f} | "
                    f"{gain_text(y, base, scores, days)} | {gain_text(y, first, scores, days)} | {seconds:.0f} |",
                    flush=True,
                )


def monotone(spec: ModelSpec, data: TrainingData, rows: Any, seeds: int, threads: int) -> None:
    """A row per family and set of directions."""
    held_out = data.periods.held_out
    x, y, days = data.features, data.y[held_out], data.days[held_out]
    ids = data.rows[spec.requests.id][held_out].tolist()
    tests = [test for test in spec.behaviour if isinstance(test, Direction)]
    tuned = spec.model_copy(update={"tuning": spec.tuning.model_copy(update={"monotone": True})})
    everywhere = [test.model_copy(update={"where": None}) for test in tests]
    sets = {
        "none": {},
        "tests without where": tuned.directions,
        "all tests": tuned.model_copy(update={"behaviour": everywhere}).directions,
    }
    for family in POINTS:
        base, seen = None, set[str]()
        for what, directions in sets.items():
            if str(directions) in seen:
                continue
            seen.add(str(directions))
            pipelines = fitted(family, x, data.y, rows, seeds, threads, dict(spec.inputs), directions)
            scores = mean_scores(pipelines, x[held_out])
            base = scores if base is None else base
            judged = run_behaviour(tests, x[held_out], ids, y, partial(mean_scores, pipelines), 0.5)
            failing = "; ".join(
                f"{test.feature} {found['failing']:.1%}" for test, found in zip(tests, judged, strict=True)
            )
            print(
                f"| {spec.name} | {family} | {what} | {average_precision_score(y, scores):.4f} | "
                f"{gain_text(y, base, scores, days)} | {failing} |",
                flush=True,
            )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home")
    parser.add_argument("--models", nargs="+", default=["flight_delay", "flight_cancelled", "card_fraud"])
    parser.add_argument("--part", choices=["categories", "monotone", "all"], default="all")
    parser.add_argument("--rows", type=int, default=80_000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--families", nargs="+", default=list(POINTS))
    given = parser.parse_args()
    for family in set(POINTS) - set(given.families):
        POINTS.pop(family)
    settings = load_settings(None, {"HEADRACE_HOME": given.home})
    os.environ.update(settings.variables())
    specs = [load_model(name) for name in given.models]
    data = {spec.name: prepare(settings, spec, settings.demo.as_of) for spec in specs}
    if given.part != "monotone":
        print(
            "| model | family | texts | treatment | average precision | gain over numbers "
            "| gain over its texts as numbers | s |\n|---|---|---|---|---|---|---|---|"
        )
        for spec in specs:
            categories(
                spec, data[spec.name], np.flatnonzero(data[spec.name].early)[-given.rows :], given.seeds, given.threads
            )
    if given.part != "categories":
        print(
            "\n| model | family | directions | average precision | gain over none | rows that fail the test |\n"
            "|---|---|---|---|---|---|"
        )
        for spec in specs:
            monotone(
                spec, data[spec.name], np.flatnonzero(data[spec.name].early)[-given.rows :], given.seeds, given.threads
            )


if __name__ == "__main__":
    main()
