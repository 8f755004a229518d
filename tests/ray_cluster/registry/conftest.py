"""A real MLflow server for the folder, and small training runs on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs import Settings, load_settings
from flows import stack
from ray_cluster import registry
from ray_cluster.lineage.environment import library_versions
from ray_cluster.training.families import assemble, columns_of, fit_steps, preprocessing
from tests.integration.conftest import ENVIRONMENTS
from tests.ports import free_offset


@pytest.fixture(scope="session")
def mlflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables of an environment whose MLflow server is up, and nothing else."""
    variables = {
        "HEADRACE_ENV": str(ENVIRONMENTS / "embedded"),
        "HEADRACE_HOME": str(tmp_path_factory.mktemp("registry") / "home"),
        "HEADRACE_PORT_OFFSET": str(free_offset()),
    }
    settings = load_settings(None, variables)
    stack.up(settings, names=["mlflow"])
    try:
        yield variables
    finally:
        stack.down(settings)


@pytest.fixture(scope="module")
def pointed_at_it(environment: None, mlflow_home: dict[str, str]) -> Settings:
    """The settings, with their variables in this process as long as the file's tests run."""
    settings = load_settings(None, mlflow_home)
    os.environ.update(settings.variables())
    return settings


@pytest.fixture
def settings(pointed_at_it: Settings) -> Settings:
    return pointed_at_it


def held_out_rows(seed: int = 0, rows: int = 1200) -> pd.DataFrame:
    """Rows over 40 days with a label that ``signal`` tells something about."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "flight_id": [f"r{number}" for number in range(rows)],
            "prediction_time": pd.date_range("2013-01-01", periods=rows, freq="48min", tz="UTC"),
            "signal": random.normal(size=rows),
            "noise": random.normal(size=rows),
            "carrier": random.choice(["UA", "AA"], rows).astype(object),
        }
    )
    chance = 1 / (1 + np.exp(-(1.5 * frame["signal"] - 1.0)))
    return frame.assign(label=(random.random(rows) < chance).astype(int))


FEATURES = ["signal", "noise", "carrier"]


def log_small_run(
    settings: Settings,
    model: str,
    key: str,
    rounds: int = 20,
    blind: bool = False,
    held_out_from: str = "2013-01-01",
    served_until: str | None = None,
) -> str:
    """Fit and log a small XGBoost pipeline; ``blind`` keeps the signal from it. ``served_until``: of the rows that the
    run says that it was fitted on."""
    from ray_cluster.evaluation.metrics import metrics

    fitted, held_out = held_out_rows(1), held_out_rows(2)
    held_out = held_out[held_out["prediction_time"] >= pd.to_datetime(held_out_from, utc=True)]
    x = fitted[FEATURES].assign(signal=0.0) if blind else fitted[FEATURES]
    encode = preprocessing(x).fit(x)
    classifier = fit_steps(
        "xgboost", {"max_depth": 3, "learning_rate": 0.2}, encode.transform(x),
        fitted["label"].to_numpy(), rounds, seed=0, columns=columns_of(encode),
    )  # fmt: skip
    pipeline = assemble(encode, classifier)
    scores = pipeline.predict_proba(held_out[FEATURES])[:, 1]
    found = metrics(held_out["label"].to_numpy(), scores, 0.4)
    periods = {
        "held_out": {
            "rows": len(held_out),
            "positives": int(held_out["label"].sum()),
            "start": pd.to_datetime(held_out_from, utc=True).isoformat(),
            "end": "2013-02-10T00:00:00+00:00",
        }
    }
    return registry.log_run(
        settings,
        model,
        key,
        pipeline,
        example=held_out[FEATURES].head(3),
        reference=held_out[["flight_id", "prediction_time", *FEATURES, "label"]].assign(score=scores),
        evidence=registry.Evidence(
            evaluation=registry.Evaluation(
                metrics=found,
                threshold=0.4,
                periods=periods,
                family="xgboost",
                slices=[],
                served={"until": served_until, "threshold": 0.4} if served_until else None,
            ),
            dataset=registry.Dataset(
                fingerprint=f"data-{key}",
                rows=2400,
                as_of="2013-02-10T00:00:00+00:00",
                feature_service="flight_risk",
                tables={},
                git={"commit": "0" * 40, "dirty": False},
            ),
            model={"name": model},
        ),
        params={"family": "xgboost"},
        metrics=found,
        tags={"headrace.dataset": f"data-{key}"},
        metadata={
            "threshold": 0.4,
            "features": FEATURES,
            "feature_service": "flight_risk",
            "dataset": f"data-{key}",
            "as_of": "2013-02-10T00:00:00+00:00",
            "libraries": library_versions(),
        },
    )


@pytest.fixture
def run(settings: Settings) -> Callable[..., str]:
    """Log a small run and return its id: ``run(model, key, rounds=20, blind=False)``."""

    def log(model: str, key: str, **more: Any) -> str:
        return log_small_run(settings, model, key, **more)

    return log


def in_process(variables: dict[str, str], code: str) -> subprocess.Popen[str]:
    """Start Python code in a process of its own, pointed at the environment."""
    import sys

    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
