"""A home with real feature files, a real SQLite online store and a prediction log, for tests of what was served."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs import Settings, load_model, load_settings
from feature_repo.definitions import feature_store
from feature_repo.materialization.view_files import ViewState, remember, state, view_folder
from feature_repo.online.layout import ViewLayout, layouts
from feature_repo.online.reader import OnlineReader
from ray_cluster.serving.prediction_log import PredictionLine, PredictionLog, predictions_folder
from ray_cluster.serving.predictor import Predictor
from ray_cluster.serving.schema import RequestSchema

__all__ = ["KEYS", "NOON", "SPEC", "VIEWS", "Constant", "World", "history", "registered", "world"]

SPEC = load_model("flight_delay", "local")
NOON = datetime(2013, 6, 10, 12, tzinfo=UTC)
VIEWS = ("weather", "carrier_stats", "origin_stats", "route_stats", "plane_stats", "plane_attributes")
KEYS = {
    "carrier": ["UA", "B6", "AA"],
    "origin": ["EWR", "JFK"],
    "dest": ["ORD", "BOS"],
    "tailnum": ["N1001", "N1002", "N1003"],
}
TEXTS = ["AIRBUS", "BOEING"]


class Constant:
    """Stands for a model: what it scores is no matter here."""

    version, threshold = 1, 0.5

    def __init__(self, features: list[str]) -> None:
        self.features, self.pipeline = features, self

    def predict_proba(self, inputs: pd.DataFrame) -> Any:
        return np.full((len(inputs), 2), 0.5)


def history(layout: ViewLayout, seed: int) -> pd.DataFrame:
    """A row an hour for each entity over two days until noon, each known ten minutes later; with a few nulls."""
    random = np.random.default_rng(seed)
    entities = pd.DataFrame({"k": [0]})
    for key in layout.join_keys:
        entities = entities.merge(pd.DataFrame({key: KEYS[key]}), how="cross")
    hours = pd.DataFrame({"event_timestamp": pd.date_range(end=NOON, periods=48, freq="h", tz="UTC")})
    rows = entities.merge(hours, how="cross").drop(columns="k")
    rows["known_at"] = rows["event_timestamp"] + pd.Timedelta("10min")
    for name, kind in layout.features:
        values = random.normal(20, 5, len(rows))
        rows[name] = random.choice(TEXTS, len(rows)) if kind == "string" else values
        rows.loc[random.random(len(rows)) < 0.05, name] = None
    return rows.astype({"event_timestamp": "datetime64[us, UTC]", "known_at": "datetime64[us, UTC]"})


class World:
    """Feature files, online store, prediction log and endpoint of one home."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rows = {view: history(layouts(settings)[view], number) for number, view in enumerate(VIEWS)}
        self.edit: Callable[[dict[str, Any]], None] = lambda line: None
        for view in VIEWS:
            self.write(view)

    def write(self, view: str, rows: pd.DataFrame | None = None, code: str = "c1") -> None:
        """Put a view's rows into a new file, as a computation does."""
        self.rows[view] = self.rows[view] if rows is None else rows
        before = state(self.settings, view)
        name = f"{len(list(view_folder(self.settings, view).glob('*.parquet')))}.parquet"
        path = view_folder(self.settings, view) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows[view].to_parquet(path, index=False)
        held = before or ViewState(view=view, rows=0, code=code, tables={})
        remember(self.settings, replace(held, rows=len(self.rows[view]), code=code, files={"all": name}))

    def materialize(self, as_of: datetime = NOON, views: tuple[str, ...] = VIEWS) -> None:
        for view in views:
            feature_store.materialize(self.settings, view, as_of)

    def serve(self, as_of: datetime = NOON, count: int = 40, seed: int = 7, expired: Any = None) -> None:
        """Ask the endpoint's predictor about flights two hours later; it logs what it served, as ``edit`` has it."""
        reader = OnlineReader(self.settings, SPEC.feature_service)
        log = PredictionLog(predictions_folder(self.settings, SPEC.name), "replica-1")
        append = log.append

        def edited(lines: Any) -> None:
            documents = [line.to_json() for line in lines]
            for document in documents:
                self.edit(document)
            append([PredictionLine.from_json(document) for document in documents])

        log.append = edited  # type: ignore[method-assign]
        schema = RequestSchema(SPEC.requests, 1000)
        versions: Any = lambda: {view: state(self.settings, view).online_code for view in VIEWS}  # noqa: E731
        predictor = Predictor(SPEC.name, schema, reader, log, lambda: NOON, expired=expired, view_versions=versions)
        predictor.live = Constant(reader.features)
        random = np.random.default_rng(seed)
        rows = [
            {
                **{key: str(random.choice([*values, "ZZZ"])) for key, values in KEYS.items()},
                "tailnum": None if number % 7 == 0 else str(random.choice(KEYS["tailnum"])),
                "scheduled_departure": as_of + timedelta(hours=2),
                "scheduled_arrival": as_of + timedelta(hours=4, minutes=number),
                "flight_id": f"f{seed}-{number}",
                "as_of": as_of,
            }
            for number in range(count)
        ]
        predictor.predict(rows)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home whose registry knows the definitions; homes of tests share it, as making it takes seconds."""
    settings = load_settings(variables={"HEADRACE_HOME": str(tmp_path_factory.mktemp("home")), "HEADRACE_ENV": "local"})
    feature_store.apply(settings)
    layouts(settings)
    return settings


@pytest.fixture
def world(registered: Settings) -> Iterator[World]:
    yield World(registered)
    for view in VIEWS:
        shutil.rmtree(view_folder(registered, view))
        (registered.home / "features" / f"{view}.json").unlink()
    for path in registered.home.glob("online.db*"):
        path.unlink()
    for folder in ("predictions", "parity"):
        shutil.rmtree(registered.home / folder, ignore_errors=True)
