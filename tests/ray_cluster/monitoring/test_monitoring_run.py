"""Monitoring as a whole: from the prediction log to the verdict, Evidently's pages and its workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.model import load_model
from configs.settings import load_settings
from ray_cluster.decisions.decision import Decision, monitoring_verdict, replay
from ray_cluster.monitoring.evidently_pages.panels import plotted
from ray_cluster.monitoring.evidently_pages.reports import performance_run
from ray_cluster.monitoring.evidently_pages.workspace import add_run
from ray_cluster.monitoring.measurements import measure
from ray_cluster.monitoring.monitoring_run import MonitoringError, monitor

AS_OF = pd.Timestamp("2013-12-31", tz="UTC")
MODEL = load_model("flight_delay")
SPEC = MODEL.model_copy(update={"monitoring": MODEL.monitoring.model_copy(update={"ignore": ["month"]})})


def held_out(rows: int, start: str = "2013-10-01", days: int = 77, shift: float = 0.0, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({f"wind_{i}": random.normal(shift, 1, rows) for i in range(4)})
    frame["carrier"] = random.choice(["UA", "B6", "EV"], rows)
    frame["month"] = pd.Timestamp(start).month
    frame.loc[random.random(rows) < 0.1, "wind_3"] = np.nan
    frame["score"] = 1 / (1 + np.exp(1 - frame["wind_0"]))
    frame["label"] = (random.random(rows) < frame["score"]).astype(int)
    frame["prediction_time"] = pd.Timestamp(start, tz="UTC") + pd.to_timedelta(random.random(rows) * days, unit="D")
    return frame.assign(flight_id=[f"{start}/{i}" for i in range(rows)])


def logged(live: pd.DataFrame) -> pd.DataFrame:
    features = live[["wind_0", "wind_1", "wind_2", "wind_3", "carrier", "month"]].astype(object)
    return pd.DataFrame(
        {
            "id": live["flight_id"],
            "as_of": live["prediction_time"].map(lambda time: time.isoformat()),
            "version": 3,
            "score": live["score"],
            "threshold": 0.4,
            "features": features.where(features.notna(), None).to_dict("records"),
        }
    )


def outcomes(live: pd.DataFrame) -> pd.DataFrame:
    known = live["prediction_time"] + pd.Timedelta("6h")
    return pd.DataFrame({"id": live["flight_id"], "label": live["label"], "known_at": known})


def test_what_is_known_later_is_not_looked_at() -> None:
    live = held_out(1500, "2013-12-17", 14, seed=1)
    half = pd.Timestamp("2013-12-24", tz="UTC")
    seen = measure(SPEC, logged(live), outcomes(live), held_out(3000), half)
    assert seen["rows"] == (live["prediction_time"] <= half).sum()
    assert seen["performance"]["outcomes"] == (live["prediction_time"] <= half - pd.Timedelta("6h")).sum()
    json.dumps(seen, allow_nan=False)


def test_both_forms_of_the_log_give_the_same_measurements() -> None:
    live, reference = held_out(1200, "2013-12-17", 14, seed=1), held_out(3000)
    log = logged(live)
    expanded = pd.DataFrame(log["features"].tolist()).add_prefix("features.")
    flat = pd.concat([log.drop(columns="features"), expanded], axis=1)
    assert measure(SPEC, log, outcomes(live), reference, AS_OF) == measure(SPEC, flat, outcomes(live), reference, AS_OF)


def test_the_last_prediction_of_an_id_counts_and_features_of_one_side_are_named() -> None:
    live = held_out(1200, "2013-12-17", 10, seed=1)
    again = live.assign(prediction_time=live["prediction_time"] + pd.Timedelta("1h"), score=1 - live["score"])
    log = pd.concat([logged(live), logged(again)], ignore_index=True)
    log["features"] = [{**row, "surprise": 1} for row in log["features"]]
    seen = measure(SPEC, log, outcomes(live), held_out(3000).assign(gone=1.0), AS_OF)
    assert seen["rows"] == 2400 and seen["performance"]["outcomes"] == 1200
    assert seen["performance"]["metrics"]["roc_auc"]["live"] < 0.5
    assert seen["unmatched"] == {"only_in_reference": ["gone"], "only_in_log": ["surprise"]}


def test_rows_without_a_score_are_counted_and_nothing_else_is_made_of_them(tmp_path: Path) -> None:
    settings = load_settings("local", {"HEADRACE_HOME": str(tmp_path)})
    live, reference = held_out(1500, "2013-12-17", 14, seed=1), held_out(3000)
    log = logged(live)
    abstained = log.head(300).assign(score=np.nan, id=[f"abstained/{n}" for n in range(300)])
    both = pd.concat([abstained, log], ignore_index=True)
    seen = measure(SPEC, both, outcomes(live), reference, AS_OF)
    assert seen.pop("abstained") == 300
    without = measure(SPEC, log, outcomes(live), reference, AS_OF)
    assert without.pop("abstained") == 0 and seen == without
    decision = monitoring_verdict(seen | {"abstained": 300}, SPEC.monitoring)
    assert decision.reasons[-1].startswith("300 of 1,800 requests (17%) got no probability, because a value had")
    assert replay(decision) == decision
    alone = monitor(settings, SPEC, abstained, outcomes(live), reference, AS_OF)
    assert (alone.decision.action, alone.html, alone.measurements["rows"]) == ("wait", None, 0)
    assert "300 of 300 requests" in alone.decision.reasons[-1]
    json.dumps(alone.to_dict(), allow_nan=False)


def test_an_empty_log_waits_and_wrong_frames_are_refused(tmp_path: Path) -> None:
    settings = load_settings("local", {"HEADRACE_HOME": str(tmp_path)})
    live, reference = held_out(50, "2013-12-17", 10), held_out(100)
    result = monitor(settings, SPEC, logged(live).head(0), outcomes(live), reference, AS_OF)
    assert (result.decision.action, result.html) == ("wait", None)
    with pytest.raises(MonitoringError, match="prediction log has no column score"):
        measure(SPEC, logged(live).drop(columns="score"), outcomes(live), reference, AS_OF)
    with pytest.raises(MonitoringError, match="None of the features"):
        measure(SPEC, logged(live), outcomes(live), reference[["score", "label"]].assign(other=1), AS_OF)
    with pytest.raises(MonitoringError, match="no time zone"):
        monitor(settings, SPEC, logged(live), outcomes(live), reference, AS_OF.tz_localize(None).to_pydatetime())


def test_drift_that_the_model_copes_with_is_kept_and_a_broken_feature_is_fixed(tmp_path: Path) -> None:
    settings = load_settings("local", {"HEADRACE_HOME": str(tmp_path)})
    live, reference = held_out(1500, "2013-12-17", 14, shift=0.9, seed=1), held_out(3000)
    copes = measure(SPEC, logged(live), outcomes(live), reference, AS_OF)
    assert copes["prediction"]["drifted"] and copes["broken"] == []
    decision = monitoring_verdict(copes, SPEC.monitoring)
    assert (
        decision.action == "keep" and decision.reasons[-1] == "The outcomes show that the model copes with the drift."
    )
    blind = measure(SPEC, logged(live), outcomes(live).head(0), reference, AS_OF)
    assert monitoring_verdict(blind, SPEC.monitoring).action == "retrain"
    newest = live.sort_values("prediction_time").index[-60:]
    live.loc[newest, "wind_1"] *= 1000
    result = monitor(settings, SPEC, logged(live), outcomes(live), reference, AS_OF)
    assert result.measurements["broken"] == [{"feature": "wind_1", "kind": "unit", "rows": 50}]
    assert result.decision.action == "fix_data" and replay(result.decision) == result.decision


def test_a_page_that_fails_is_recorded_and_the_verdict_stands(tmp_path: Path, caplog: Any) -> None:
    settings = load_settings("local", {"HEADRACE_HOME": str(tmp_path)})
    live, reference = held_out(1200, "2013-12-17", 14, shift=0.9, seed=1), held_out(3000)
    (tmp_path / "evidently").write_text("where the workspace should be")
    result = monitor(settings, SPEC, logged(live), outcomes(live.assign(label=1 - live["label"])), reference, AS_OF)
    assert result.decision.action == "retrain" and result.html is None and result.performance_html is None
    kept = result.to_dict()["failures"]
    assert [each["what"] for each in kept] == [
        "Evidently page of drift",
        "Evidently page of performance",
        "Evidently panels",
    ]
    assert all(each["why"].startswith("FileExistsError: ") for each in kept)
    assert [record.levelname for record in caplog.records if "Evidently pa" in record.message] == ["WARNING"] * 3


def test_drift_is_judged_written_and_listed_in_the_workspace(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    settings = load_settings("local", {"HEADRACE_HOME": str(tmp_path)})
    live = held_out(1200, "2013-12-17", 14, shift=0.9, seed=1)
    known = outcomes(live).head(900)
    result = monitor(settings, SPEC, logged(live), known, held_out(3000), AS_OF)
    assert result.decision.action == "retrain"
    assert result.features["feature"].iloc[-1] in ("carrier", "month", "wind_3") or not result.features["drifted"].all()
    assert bool(result.features.set_index("feature").loc["month", "ignored"])
    stored = Decision.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False))["decision"])
    assert replay(stored) == result.decision
    for page in (result.html, result.performance_html):
        assert page is not None and page.parent == tmp_path / "monitoring" / "flight_delay"
        text = page.read_text()
        assert text.lstrip().startswith("<!DOCTYPE html>") or "<html" in text[:500]
        assert 'src="http' not in text and "<link" not in text.split("<body", 1)[0].replace('<link rel="icon', "")
        assert not [file for file in page.parent.iterdir() if file.name.startswith(".")]

    # The same stretch once more replaces its run.
    run = performance_run(SPEC, result.measurements, live, held_out(3000), 0.4)
    add_run(settings, SPEC, run)

    from evidently.ui.workspace import Workspace

    workspace = Workspace.create(str(tmp_path / "evidently"))
    project = next(project for project in workspace.list_projects() if project is not None)
    assert project.name == "flight_delay" and len(workspace.list_projects()) == 1
    runs = {run.name: run for each in workspace.list_runs(project.id) if (run := workspace.get_run(project.id, each))}
    parts = ("drift", "performance", "verdict")
    assert len(workspace.list_runs(project.id)) == 3
    assert sorted(runs) == [f"flight_delay {part} 2013-12-31 00:00" for part in parts]
    assert {run.timestamp.isoformat() for run in runs.values()} == {"2013-12-31T00:00:00"}
    verdict = runs["flight_delay verdict 2013-12-31 00:00"]
    assert verdict.tags == ["verdict", "retrain"]
    shown = {tuple(name.split(".")): each.to_simple_dict() for name, each in verdict.metric_results.items()}
    assert shown == plotted(result.decision)
    assert len(project.dashboard.model().panels) == 9
