"""Which learning rate leads after equally many rounds, and which after equal progress: rounds times learning rate.

    python -m benchmarks.pace HOME [--rates 0.1 0.05 0.02] [--rows 80000]

HOME is that of an environment whose ``flight_delay`` data are ingested and materialized; its stack need not be up. As
in a search, each trial is fitted on the latest ``tuning.rows`` rows before the validation period and measured on it. A
scheduler that stops early should keep those that are best in the end.
"""

from __future__ import annotations

import argparse
import os

from sklearn.metrics import average_precision_score

from configs import load_model, load_settings
from ray_cluster.training.data import prepare
from ray_cluster.training.families import Rows, encoded, start

POINT = {"max_depth": 5, "min_child_weight": 20, "subsample": 0.8, "colsample_bytree": 0.6}
#: Rounds of the highest learning rate at the rungs.
RUNGS = (25, 50, 75)
STEP = 25


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.05, 0.02])
    parser.add_argument("--rows", type=int, help="latest training rows; default: the model's own")
    given = parser.parse_args()
    settings = load_settings(None, {"HEADRACE_HOME": given.home})
    os.environ.update(settings.variables())
    spec = load_model("flight_delay")
    if given.rows:
        spec = spec.model_copy(update={"tuning": spec.tuning.model_copy(update={"rows": given.rows})})
    (x, y, columns), (later, truth, _) = encoded(spec, prepare(settings, spec, settings.demo.as_of))["categories"]
    highest = max(given.rates)
    after = [*(f"after {rung}" for rung in RUNGS), *(f"progress of {rung}" for rung in RUNGS)]
    print(f"| learning rate | {' | '.join(after)} | best (rounds) |\n|{'---|' * (len(after) + 2)}")
    for rate in given.rates:
        fit, validation = (
            start("xgboost", POINT | {"learning_rate": rate}, Rows(x, y, columns=columns), 0, 2),
            Rows(later, truth, columns=columns),
        )
        found = {}
        for done in range(STEP, round(150 * highest / rate) + 1, STEP):
            fit.advance(done, lambda: False)
            found[done] = float(average_precision_score(truth, fit.scores(validation)))
        paced = [STEP * round(rung * highest / rate / STEP) for rung in RUNGS]
        best = max(found, key=lambda done: found[done])
        cells = [f"{found[done]:.4f}" for done in (*RUNGS, *paced)]
        print(f"| {rate:g} | {' | '.join(cells)} | {found[best]:.4f} ({best}) |", flush=True)


if __name__ == "__main__":
    main()
