"""A small form of ``benchmarks/monitoring_rules.py``: weeks of daily looks without a change, and changes that cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.monitoring_rules import (
    FEATURES,
    POLICY,
    REFERENCE,
    SCENARIOS,
    New,
    alarm,
    completed,
    drawn,
    power,
    quiet,
)
from configs import load_model
from ray_cluster.monitoring.measurements import measure

ROWS = 60


def test_a_look_of_the_benchmark_is_one_of_monitoring() -> None:
    random = np.random.default_rng(0)
    reference, later, effects = drawn(random, ROWS, 14)
    spec = load_model("flight_delay").model_copy(update={"monitoring": POLICY})
    for name in ("slow season", "new category", "feature null"):
        live = completed(random, later, effects, SCENARIOS[name])
        live = live[live["day"] >= REFERENCE + 3]
        log = live[["id", "score"]].assign(as_of=live["prediction_time"])
        log[[f"features.{feature}" for feature in FEATURES]] = live[FEATURES]
        held_out = reference[[*FEATURES, "score", "label", "prediction_time"]]
        measured = measure(spec, log, live[["id", "label"]], held_out, live["prediction_time"].max())
        seen = New(reference).evidence(live)
        assert seen["rows"] == measured["rows"] and seen["broken"] == measured["broken"]
        assert seen["performance"] == measured["performance"]
        assert seen["features"] == [part(row, seen["features"][0]) for row in measured["features"]]
        assert seen["prediction"] == part(measured["prediction"], seen["prediction"]) | {"feature": "score"}
        assert alarm(seen) == alarm(measured)


def part(row: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in keys}


def test_quiet_weeks_are_quiet() -> None:
    """Few of eight weeks have an alarm, with outcomes or without; 400 weeks have one in less than 5 %."""
    found = dict(quiet(range(8), ROWS, "nothing"))
    assert set(found) == {7, 14, 30} and pd.DataFrame(found).to_numpy().max() <= 2 / 8


@pytest.mark.parametrize("name", ["effect reversed", "feature null", "odds x 2.7"])
def test_changes_that_cost_are_found(name: str) -> None:
    shares = {window: with_outcomes for _, window, _, (with_outcomes, _) in power(range(4), ROWS, [name])}
    assert shares[14] == shares[30] == 1
