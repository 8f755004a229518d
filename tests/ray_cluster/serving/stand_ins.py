"""An online reader and a version loader small enough to run anywhere; replicas import them by path."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

FEATURES = ["late_rate", "wind", "hour_of_day"]


@dataclass(frozen=True)
class StandInVectors:
    features: pd.DataFrame
    event_times: pd.DataFrame
    expired: pd.DataFrame
    known_until: dict[str, datetime | None]


class StandInReader:
    """Knows the carriers UA and B6 and the airport EWR; ``hour_of_day`` comes with the request.

    Values are as old as ``ages`` says, at any ``as_of``; older than their TTL they are null.
    """

    features = FEATURES

    def __init__(self, settings: Any = None, feature_service: str = "") -> None:
        self.view_keys = {"carrier_stats": ["carrier"], "weather": ["origin"]}
        self.view_features = {"carrier_stats": ["late_rate"], "weather": ["wind"]}
        self.ttls = {"carrier_stats": 172800.0, "weather": 21600.0}
        self.ages = {"carrier_stats": 3600.0, "weather": 3600.0}
        self.known_until: dict[str, datetime | None] = {
            "carrier_stats": datetime(2013, 12, 16, 12, tzinfo=UTC),
            "weather": None,
        }
        self.reads: list[int] = []

    def read(self, rows: pd.DataFrame, as_of: pd.Series) -> StandInVectors:
        self.reads.append(len(rows))
        known = {"carrier_stats": rows["carrier"].isin(["UA", "B6"]), "weather": rows["origin"].eq("EWR")}
        values = {"late_rate": 0.25, "wind": 7.0}
        times, expired, features = {}, {}, {}
        for view, (name,) in self.view_features.items():
            times[view] = (as_of - pd.Timedelta(seconds=self.ages[view])).where(known[view])
            expired[view] = known[view] & (self.ages[view] > self.ttls[view])
            features[name] = np.where(known[view] & ~expired[view], values[name], np.nan)
        features["hour_of_day"] = rows["scheduled_departure"].dt.hour
        return StandInVectors(
            pd.DataFrame(features), pd.DataFrame(times), pd.DataFrame(expired), dict(self.known_until)
        )


class FailingReader(StandInReader):
    """Cannot read the carrier 00."""

    def read(self, rows: pd.DataFrame, as_of: pd.Series) -> StandInVectors:
        if rows["carrier"].eq("00").any():
            raise ConnectionError("the online store is away")
        return super().read(rows, as_of)


class StandInPipeline:
    def __init__(self, score: float) -> None:
        self.score = score

    def predict_proba(self, features: pd.DataFrame) -> Any:
        scores = np.full(len(features), self.score) + features["hour_of_day"].to_numpy(float) / 1000
        return np.column_stack([1 - scores, scores])


@dataclass(frozen=True)
class StandInVersion:
    model: str = "flight_delay"
    version: int = 1
    run_id: str = "run"
    pipeline: Any = field(default_factory=lambda: StandInPipeline(0.3))
    threshold: float = 0.3
    features: list[str] = field(default_factory=lambda: list(FEATURES))


def load(settings: Any, model: str, version: int | None = None) -> StandInVersion:
    """Version N scores N/10; 9 needs a feature nobody gives; 13 is not there; 5 takes a while."""
    if version == 13:
        raise LookupError("there is no version 13 of flight_delay")
    if version == 5:
        time.sleep(3)
    features = [*FEATURES, "moon_phase"] if version == 9 else list(FEATURES)
    assert version is not None
    return StandInVersion(model, version, f"run-{version}", StandInPipeline(version / 10), 0.3, features)
