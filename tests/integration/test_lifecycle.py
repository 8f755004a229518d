"""The whole loop on real servers and real flights, through the command line."""

from __future__ import annotations

import json
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import pandas as pd
import psutil
import pytest

from configs import load_model
from feature_repo.definitions.dependencies import model_tables, service_views
from feature_repo.definitions.feature_store import retrieve
from feature_repo.frames.training_frame import PREDICTION_TIME
from feature_repo.online.reader import OnlineReader
from feature_repo.tables import manifest
from flows.stack import health
from flows.stack.processes import processes_of
from ray_cluster import registry
from ray_cluster.evaluation.metrics import metrics, ranking
from ray_cluster.serving.prediction_log import read_predictions
from ray_cluster.serving.replay import moments
from ray_cluster.serving.rollout import SMOKE_TEST
from tests.integration.conftest import PERIOD, Headrace

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def test_every_server_is_ready(headrace):
    found = {each.service.name: each.state for each in health(headrace.settings)}
    assert found == dict.fromkeys(["prefect", "ray", "mlflow", "schedules", "evidently"], "ready")


def test_every_row_is_accounted_for(headrace, lifecycle):
    for table in model_tables(headrace.settings, load_model("flight_delay"), references=True):
        held = manifest(headrace.settings, table)
        assert held.rows_in == held.rows_out + held.quarantined + held.later
    assert manifest(headrace.settings, "flights").rows_in == 336_776
    assert manifest(headrace.settings, "weather").reasons == {"wind_speed = 1048.36058 fails in_range(0, 150)": 1}


def test_a_champion_is_live_with_its_evidence(headrace, lifecycle):
    assert lifecycle["version"] == lifecycle["champion"] == 1
    facts = registry.champion(headrace.settings, "flight_delay")
    assert facts.version == 1 and facts.metrics["roc_auc"] > 0.65
    for tag in ("headrace.dataset", "headrace.git_commit", "headrace.flow_run", "headrace.feature_service"):
        assert facts.tags[tag]
    evidence = registry.evidence(headrace.settings, facts.run_id)
    assert set(evidence.to_json()) >= {"evaluation", "trials", "dataset", "decision", "model"}
    assert set(evidence.evaluation.baselines) == {
        "base rate",
        "logistic regression, calendar only",
        "XGBoost defaults, all features",
    }
    periods = evidence.evaluation.periods
    assert periods["train"]["end"] == periods["validation"]["start"] < periods["held_out"]["start"]
    served, [origin] = evidence.evaluation.served, evidence.evaluation.origins
    assert served["until"] == periods["held_out"]["end"] and origin["start"] == periods["held_out"]["start"]
    assert served["rows"] > origin["train_rows"] + 0.9 * periods["held_out"]["rows"]
    assert registry.load_version(headrace.settings, "flight_delay").threshold == served["threshold"]
    assert {trial["family"] for trial in evidence.trials} == {"xgboost", "hist_gradient_boosting"}


def test_the_reference_has_scores_of_a_fit_that_had_not_seen_its_rows(headrace, lifecycle):
    """The served fit has seen them, so that it ranks them better."""
    loaded = registry.load_version(headrace.settings, "flight_delay")
    evaluation = registry.evidence(headrace.settings, loaded.run_id).evaluation
    rows = registry.reference(headrace.settings, loaded.run_id)
    assert metrics(rows["label"], rows["score"], evaluation.threshold) == pytest.approx(evaluation.metrics)
    scores = loaded.pipeline.predict_proba(rows[loaded.features])[:, 1]
    assert ranking(rows["label"], scores)["roc_auc"] > evaluation.metrics["roc_auc"]


def test_the_report_is_one_page_with_every_part(lifecycle):
    page = Path(lifecycle["report"]).read_text(encoding="utf-8")
    for part in ("Held-out evaluation", "Tuning", "Monitoring", "Endpoint", "What to click next", "Provenance"):
        assert part in page
    assert 'src="http' not in page and len(page) < 3_000_000


def test_as_served_so_trained(headrace, lifecycle):
    """What the endpoint logged equals what is retrieved offline as of the moment features were brought online."""
    settings, spec = headrace.settings, load_model("flight_delay", headrace.environment["HEADRACE_ENV"])
    log = read_predictions(settings, "flight_delay")
    log = log[log["id"].notna() & (log["id"] != SMOKE_TEST)].reset_index(drop=True)
    assert len(log) > 200
    asked = pd.DataFrame(log["entities"].tolist()).join(pd.DataFrame(log["fields"].tolist()))
    for name in spec.requests.fields:
        asked[name] = pd.to_datetime(asked[name], utc=True)
    at = pd.to_datetime(log["as_of"], utc=True)
    planned = pd.Series(moments(at.min().floor("D"), at.max().ceil("D"), settings.demo.moments)).astype(
        "datetime64[us, UTC]"
    )
    online_at = pd.merge_asof(
        at.rename("at").astype("datetime64[us, UTC]").sort_values().to_frame(),
        planned.rename("moment").to_frame(),
        left_on="at",
        right_on="moment",
    )["moment"]
    asked[PREDICTION_TIME] = online_at.set_axis(at.sort_values().index).reindex(asked.index)
    offline = retrieve(settings, "flight_risk", asked, at=PREDICTION_TIME)
    waited = (at - asked[PREDICTION_TIME]).dt.total_seconds() / 3600  # by which a row is older when it is served
    served = pd.DataFrame(log["features"].tolist())
    names = OnlineReader(settings, "flight_risk").features
    differ = 0
    for name in names:
        left, right = served[name], offline[name]
        if right.dtype == object:
            same = (left == right) | (left.isna() & right.isna())
        else:
            left, right = left.astype(float), right.astype(float) + (waited if name.endswith("_age_hours") else 0)
            same = ((left - right).abs() < 1e-6) | (left.isna() & right.isna())
        differ += int((~same).sum())
    # a value may reach its TTL between the moment it was brought online and the request
    assert differ / (len(log) * len(names)) < 0.002


def test_again_changes_nothing(headrace, lifecycle):
    before = registry.versions(headrace.settings, "flight_delay")
    again = headrace.run("lifecycle", "--model", "flight_delay", *PERIOD)
    notes = {step["name"]: step["note"] for step in again["steps"]}
    assert notes["ingest"] == "0 of 6 tables changed"
    assert notes["materialize"] == f"0 of {len(service_views(headrace.settings, 'flight_risk'))} views computed"
    assert notes["train"] == "trained before"
    assert notes["deploy"].endswith("unchanged")
    assert notes["traffic"].startswith("0 requests sent")
    assert notes["monitor"].endswith("(unchanged)")
    assert registry.versions(headrace.settings, "flight_delay") == before


def test_batch_scores(headrace, lifecycle):
    scored = headrace.run("score", "--model", "flight_delay", "--as-of", "2013-03-25")
    rows = pd.read_parquet(scored["path"])
    assert len(rows) == scored["rows"] > 500
    assert rows["probability"].between(0, 1).all() and set(rows["version"]) == {1}
    assert (rows["scheduled_departure"] >= pd.Timestamp("2013-03-25", tz="UTC")).all()


def test_nothing_talks_to_the_outside(headrace: Headrace, lifecycle):
    """Telemetry and update checks are off: every connection of the stack's processes ends on this machine."""
    own = {address.address for each in psutil.net_if_addrs().values() for address in each} | {"127.0.0.1", "::1"}
    records = [json.loads(path.read_text()) for path in (headrace.settings.home / "run").glob("*.json")]
    assert len(records) == 5
    seen = 0
    for record in records:
        parent = psutil.Process(record["pid"])
        for process in [parent, *parent.children(recursive=True)]:
            for connection in process.net_connections(kind="inet"):
                if connection.raddr:
                    seen += 1
                    assert connection.raddr.ip.removeprefix("::ffff:") in own, (process.name(), connection)
    assert seen > 0
    off = headrace.settings.variables()
    assert off["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false" and off["RAY_USAGE_STATS_ENABLED"] == "0"
    assert off["MLFLOW_DISABLE_TELEMETRY"] == "true" and off["DO_NOT_TRACK"] == "1"


def test_it_listens_on_loopback_only(headrace: Headrace, lifecycle):
    """Whoever reaches Ray's ports can run code, so none of them is open to the network."""
    listening = set()
    for process in processes_of(headrace.settings):
        with suppress(psutil.NoSuchProcess):
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    listening.add((process.name(), *connection.laddr))
    ports = headrace.settings.ports
    open_ports = {port for _, _, port in listening}
    names = set(type(ports).model_fields) - {"offset", "serve_fallback_grpc"}  # Serve opens that one for gRPC services
    assert {name for name in names if ports[name] not in open_ports} == set()
    assert [each for each in listening if not ip_address(each[1].removeprefix("::ffff:")).is_loopback] == []


def test_status_shows_what_is_live(headrace, lifecycle):
    shown = headrace("status")
    assert shown.returncode == 0
    for word in ("prefect", "ready", "champion", "running", "carrier_stats", "lifecycle of"):
        assert word in shown.stdout
