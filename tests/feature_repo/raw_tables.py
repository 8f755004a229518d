"""Small raw tables for tests of feature views: a few airlines' real flights, changed as sources do change."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from configs.settings import Settings, load_settings
from configs.table import Gates, Source
from feature_repo.examples import nycflights
from feature_repo.tables import ingest_table

__all__ = ["END", "FLIGHT_VIEWS", "change", "put", "raw", "small_settings"]

END = datetime(2014, 1, 1, tzinfo=UTC)
FLIGHT_VIEWS = ["weather", "carrier_stats", "origin_stats", "route_stats", "plane_stats"]


def small_settings(home: Path, **variables: str) -> Settings:
    """Settings whose tables ``outcomes``, ``weather`` and ``planes`` are read from Parquet files beside ``home``."""
    environment = variables.pop("environment", "local")
    loaded = load_settings(environment, {"HEADRACE_HOME": str(home), **variables})
    tables = {
        name: loaded.tables[name].model_copy(
            update={
                "source": Source(kind="parquet", location=str(home.parent / f"{name}.parquet")),
                "references": {},
                "gates": Gates(quarantined=1, unmatched=1),
            }
        )
        for name in ("outcomes", "weather", "planes")
    }
    return loaded.model_copy(update={"tables": tables})


@cache
def raw() -> dict[str, pd.DataFrame]:
    """January to March of five small airlines, with the weather and the planes."""
    outcomes, weather = nycflights.outcomes(), nycflights.weather()
    until = pd.Timestamp("2013-04-01", tz="UTC")
    few = outcomes["carrier"].isin(["HA", "OO", "F9", "AS", "YV"]) & (outcomes["known_at"] < until)
    return {
        "outcomes": outcomes[few].reset_index(drop=True),
        "weather": weather[weather["known_at"] < until].reset_index(drop=True),
        "planes": nycflights.planes(),
    }


@cache
def ingested() -> Path:
    """A folder with the files of ``raw()`` and the home that ingested them; it is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-raw-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ingest(small_settings(folder / "home"), raw())
    return folder


def put(settings: Settings, frames: dict[str, pd.DataFrame]) -> None:
    """Ingest frames as the tables' whole content; ``raw()`` into an empty home by a copy of one that ingested it."""
    if frames is raw() and not (settings.home / "tables").exists():
        shutil.copytree(ingested(), settings.home.parent, dirs_exist_ok=True)
    else:
        ingest(settings, frames)


def ingest(settings: Settings, frames: dict[str, pd.DataFrame]) -> None:
    for name, frame in frames.items():
        path = Path(settings.tables[name].source.location)
        before = path.stat().st_mtime_ns if path.exists() else 0
        frame.to_parquet(path, index=False)
        os.utime(path, ns=(before + 10**9, before + 10**9))  # files are told apart by their times
        ingest_table(settings, name, END)


def change(frames: dict[str, pd.DataFrame], kind: str, seed: int) -> dict[str, pd.DataFrame]:
    """The tables after something happened to some days of them.

    ``correct``: other delays and rain, same times. ``remove``: rows taken back. ``move``: flights said to have been
    flown by another plane and to have become known later.
    """
    random = np.random.default_rng(seed)
    found = {name: frame.copy() for name, frame in frames.items()}
    outcomes, weather = found["outcomes"], found["weather"]
    at = random.choice(len(outcomes), min(len(outcomes), 12), replace=False)
    if kind == "correct":
        late = outcomes.index[at][outcomes.loc[outcomes.index[at], "arr_delay"].notna()]
        outcomes.loc[late, "arr_delay"] = random.integers(-20, 170, len(late)).astype(float)
        rain = weather.index[random.choice(len(weather), min(len(weather), 12), replace=False)]
        weather.loc[rain, "precip"] = random.integers(0, 90, len(rain)) / 100
    elif kind == "remove":
        found["outcomes"] = outcomes.drop(outcomes.index[at])
        found["weather"] = weather.drop(weather.index[random.choice(len(weather), min(len(weather), 5))])
    elif kind == "move":
        rows = outcomes.index[at]
        outcomes.loc[rows, "tailnum"] = f"N{seed % 900 + 100}ZZ"
        outcomes.loc[rows, "known_at"] += pd.to_timedelta(random.integers(1, 4000, len(rows)), unit="min")
    return found
