"""How boosting rounds grow with rows: rounds chosen on few rows, used for a fit on many.

    python -m benchmarks.rounds HOME [--rows 20000 40000 80000] [--rounds 600]

HOME is that of an environment whose ``flight_delay`` data are ingested and materialized; its stack need not be up. As
in a training, the rounds are chosen on the ``rows`` before a validation window; the final fit has all rows before the
next window, in which it is measured. For each of the given rows it prints the mean average precision over the origins
and points with the chosen rounds times ``(all rows / rows) ** exponent``, and the best possible rounds.
"""

from __future__ import annotations

import argparse
import os
from datetime import timedelta
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from configs import load_model, load_settings
from ray_cluster.training.data import prepare
from ray_cluster.training.families import Rows, columns_of, preprocessing, start

POINTS = [
    {"learning_rate": 0.03, "max_depth": 8, "min_child_weight": 20, "subsample": 0.8},
    {"learning_rate": 0.1, "max_depth": 6, "min_child_weight": 10, "colsample_bytree": 0.7},
    {"learning_rate": 0.2, "max_depth": 4, "subsample": 0.9},
]
EXPONENTS = (0.0, 0.3, 0.5, 0.7, 1.0)
WINDOW = timedelta(days=28)
STEP = 5


def curve(point: dict[str, Any], data: Any, rows: np.ndarray, window: np.ndarray, rounds: int) -> np.ndarray:
    """Average precision in ``window`` after each :data:`STEP` rounds on ``rows``."""
    encode = preprocessing(data.features).fit(data.features.iloc[rows])
    x, later = (encode.transform(data.features.iloc[part]) for part in (rows, window))
    columns = columns_of(encode)
    fit = start("xgboost", point, Rows(x, data.y[rows], columns=columns), 0, 2)
    validation = Rows(later, data.y[window], columns=columns)
    found = []
    for done in range(STEP, rounds + 1, STEP):
        fit.advance(done, lambda: False)
        found.append(average_precision_score(validation.y, fit.scores(validation)))
    return np.array(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home")
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 40_000, 80_000])
    parser.add_argument("--rounds", type=int, default=600)
    parser.add_argument("--origins", type=int, default=3)
    given = parser.parse_args()
    settings = load_settings(None, {"HEADRACE_HOME": given.home})
    os.environ.update(settings.variables())
    spec = load_model("flight_delay")
    data = prepare(settings, spec, settings.demo.as_of)
    times, end = data.rows["prediction_time"], settings.demo.as_of - spec.split.held_out
    scores: dict[int, list[dict[str, float]]] = {count: [] for count in given.rows}
    slopes = []
    for back in range(given.origins):
        origin = end - back * WINDOW
        early = np.flatnonzero(times < origin - WINDOW)
        choosing = np.flatnonzero((times >= origin - WINDOW) & (times < origin))
        everything = np.flatnonzero(times < origin)
        judging = np.flatnonzero((times >= origin) & (times < origin + WINDOW))
        for point in POINTS:
            whole = curve(point, data, everything, judging, given.rounds)
            best = {}
            for count in given.rows:
                chosen = STEP * (1 + int(np.argmax(curve(point, data, early[-count:], choosing, given.rounds))))
                best[count] = chosen
                found = {"best": float(whole.max())}
                for exponent in EXPONENTS:
                    rounds = chosen * (len(everything) / count) ** exponent
                    found[str(exponent)] = float(whole[min(round(rounds / STEP), len(whole)) - 1])
                scores[count].append(found)
            slopes.append(np.polyfit(np.log(list(best)), np.log(list(best.values())), 1)[0])
            print(f"{origin:%Y-%m-%d} {point['learning_rate']}: {len(everything):,} rows, chosen {best}", flush=True)
    print(f"\nslope of log(rounds) over log(rows): {np.mean(slopes):.2f} ± {np.std(slopes):.2f}\n")
    print(f"| rows of the search | {' | '.join(f'exponent {each:g}' for each in EXPONENTS)} | best rounds |")
    print(f"|{'---|' * (len(EXPONENTS) + 2)}")
    for count, found in scores.items():
        means = [np.mean([each[name] for each in found]) for name in (*map(str, EXPONENTS), "best")]
        print(f"| {count:,} | {' | '.join(f'{mean:.4f}' for mean in means)} |")


if __name__ == "__main__":
    main()
