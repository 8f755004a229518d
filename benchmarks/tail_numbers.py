"""What the plane's features tell of flights whose plane was not recorded, and what they are worth.

    python -m benchmarks.tail_numbers HOME [--seeds 1]

HOME is that of an environment whose ``flight_delay`` data are ingested and materialized; its stack need not be up. The
file has no tail number for flights that were cancelled before a plane was assigned. A way to fill them in reveals the
cancellation if filled flights can be told from others. So a random tenth of the recorded flights is filled in the same
way, and a classifier that sees the plane's features alone looks for them: its ROC AUC is 0.5 if nothing is revealed.
The second table has the held-out average precision of one XGBoost point with each way, with a plane from the past for
every flight, and without the plane: of all rows, and of rows whose plane could be back in New York by departure, as of
its last known landing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.ages import gain, held_out_scores, load
from configs import load_settings
from feature_repo.definitions.feature_store import retrieve
from feature_repo.examples.nycflights import flights, outcomes
from ray_cluster.training.data import TrainingData
from ray_cluster.training.families import Rows, columns_of, preprocessing, start

#: Time on the ground before a plane flies back.
TURN = timedelta(minutes=30)


def past(schedule: pd.DataFrame, gaps: pd.Series) -> pd.Series:
    """The plane of the carrier's latest flight on the route, or else of any, a day or more earlier."""
    return _filled(schedule, gaps, (["carrier", "origin", "dest"], ["carrier", "origin"], ["carrier"]), 1, "backward")


def nearest(schedule: pd.DataFrame, gaps: pd.Series) -> pd.Series:
    """The plane of the carrier's flight from the airport that is nearest in the schedule, as in the example."""
    return _filled(schedule, gaps, (["carrier", "origin"], ["carrier"]), 0, "nearest")


def _filled(schedule: pd.DataFrame, gaps: pd.Series, keys_of: Any, days: int, direction: Any) -> pd.Series:
    filled = schedule["tailnum"].mask(gaps)
    known = schedule[schedule["recorded"] & (~gaps | gaps.all())].sort_values("scheduled_departure", kind="stable")
    known = known.assign(scheduled_departure=known["scheduled_departure"] + timedelta(days=days))
    for keys in keys_of:
        empty = schedule.loc[filled.isna(), ["scheduled_departure", *keys]].reset_index()
        found = pd.merge_asof(
            empty.sort_values("scheduled_departure", kind="stable"),
            known.sort_values("scheduled_departure", kind="stable")[["scheduled_departure", "tailnum", *keys]],
            on="scheduled_departure",
            by=keys,
            direction=direction,
        )
        filled = filled.fillna(found.set_index("index")["tailnum"])
    return filled


def features_with(home: str, data: TrainingData, schedule: pd.DataFrame, tailnum: pd.Series) -> pd.DataFrame:
    """The features of the rows with other planes."""
    rows = data.rows.drop(columns=data.frame.features)
    planes = rows["flight_id"].map(dict(zip(schedule["flight_id"], tailnum, strict=True)))
    rows["tailnum"] = planes.astype(object).where(planes.notna(), None)
    found = retrieve(load_settings(None, {"HEADRACE_HOME": home}), "flight_risk", rows, at="prediction_time")
    return data.features.assign(**{name: found[name].to_numpy() for name in data.features if name.startswith("plane_")})


def told(data: TrainingData, features: pd.DataFrame, filled: np.ndarray, recorded: np.ndarray) -> float:
    """ROC AUC with which the plane's features tell the recorded flights that are ``filled`` from the others."""
    planes = features.filter(like="plane_")
    train, later = (np.flatnonzero(part & recorded) for part in (data.early, data.periods.held_out))
    encode = preprocessing(planes).fit(planes.iloc[train])
    x, columns = encode.transform(planes.iloc[train]), columns_of(encode)
    fit = start("xgboost", {"max_depth": 6}, Rows(x, filled[train], columns=columns), 0, 2)
    fit.advance(40, lambda: False)
    return float(roc_auc_score(filled[later], fit.predict(encode.transform(planes.iloc[later]))))


def could_be_back(data: TrainingData) -> np.ndarray:
    """Whether the plane can fly back before the scheduled departure, as of its last known landing; shape (rows,)."""
    schedule, known = flights(), outcomes()
    back = schedule["scheduled_arrival"] - schedule["scheduled_departure"] + TURN
    legs = known.assign(back=back.mask(known["cancelled"], timedelta(0))).dropna(subset=["tailnum"])
    rows = data.rows[["tailnum", "prediction_time", "scheduled_departure"]].reset_index()
    rows["prediction_time"] = rows["prediction_time"].astype("datetime64[us, UTC]")
    found = pd.merge_asof(
        rows.sort_values("prediction_time", kind="stable"),
        legs.sort_values("known_at", kind="stable")[["tailnum", "known_at", "back"]],
        left_on="prediction_time",
        right_on="known_at",
        by="tailnum",
    ).sort_values("index")
    late = found["known_at"] + found["back"] > found["scheduled_departure"]
    return ~late.to_numpy()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    data = load(given.home, "flight_delay")
    schedule = flights().assign(recorded=lambda frame: ~frame["tailnum_assumed"])
    gaps = ~schedule["recorded"]
    random = pd.Series(np.random.default_rng(0).random(len(schedule)) < 0.1, schedule.index)
    recorded, drawn = (
        data.rows["flight_id"].map(dict(zip(schedule["flight_id"], each, strict=True))).to_numpy(bool)
        for each in (schedule["recorded"], random)
    )
    ways: dict[str, Callable[[pd.DataFrame, pd.Series], pd.Series]] = {
        "the route's plane a day or more before": past,
        "the airline's nearest flight from there": nearest,
    }
    print("| gaps filled with | filled flights told by the plane's features, ROC AUC |\n|---|---|")
    for name, way in ways.items():
        mixed = features_with(given.home, data, schedule, way(schedule, gaps | random))
        print(f"| {name} | {told(data, mixed, drawn, recorded):.3f} |", flush=True)
    held_out, back = data.periods.held_out, could_be_back(data)[data.periods.held_out]
    contenders = {
        "no plane": data.features.drop(columns=list(data.features.filter(like="plane_"))),
        "every flight: the route's plane a day or more before": features_with(
            given.home, data, schedule, past(schedule, pd.Series(True, schedule.index))
        ),
        **{
            f"gaps: {name}": features_with(given.home, data, schedule, way(schedule, gaps))
            for name, way in ways.items()
        },
    }
    truth, base = data.y[held_out], None
    print(f"\n| plane | average precision | gain (95 %) | of the {back.mean():.1%} whose plane could be back |")
    print("|---|---|---|---|")
    for name, features in contenders.items():
        scores = held_out_scores(data, features, given.seeds)
        base = scores if base is None else base
        found = gain(data, base, scores)
        print(
            f"| {name} | {average_precision_score(truth, scores):.4f} "
            f"| {found.gain:+.4f} ({found.low:+.4f} to {found.high:+.4f}) "
            f"| {average_precision_score(truth[back], scores[back]):.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
