"""A registered version is made again, bit for bit; what was changed since is named as the cause where it is not."""

from __future__ import annotations

import json
from datetime import datetime

import pandas as pd
import pytest

from configs.table import Gates, Source
from feature_repo.materialization.backfill import compute
from feature_repo.tables import connect, ingest_table
from ray_cluster.serving.prediction_log import read_predictions

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]


def test_the_registered_version_is_made_again_bit_for_bit(headrace, lifecycle):
    for _ in range(2):
        done = headrace("reproduce", "flight_delay", "1", "--json")
        found = json.loads(done.stdout)
        assert done.returncode == 0 and found["identical"], [each for each in found["checks"] if not each["same"]]
        assert found["version"] == 1 and found["causes"] == []
        assert {"training frame", "model", "threshold", "served threshold", "held-out scores"} <= {
            each["what"] for each in found["checks"]
        }


def test_the_lineage_leads_from_the_raw_tables_to_the_predictions(headrace, lifecycle):
    done = headrace("lineage", "flight_delay", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ids = {node["id"] for node in found["nodes"]}
    assert {"table:flights", "view:carrier_stats", "on_demand:calendar", "service", "frame", "run", "version"} <= ids
    assert {"alias:champion", "application", "predictions", "monitoring"} <= ids
    edges = {tuple(edge) for edge in found["edges"]}
    assert {
        ("table:outcomes", "view:carrier_stats"),
        ("service", "frame"),
        ("frame", "run"),
        ("run", "version"),
    } <= edges
    assert [each for each in found["changes"] if each["affects"] != "nothing"] == []
    told = headrace("lineage", "flight_delay", "1")
    assert "carrier_stats" in told.stdout and "reports/lineage/flight_delay-version-1.html" in told.stdout


def test_a_prediction_is_recomputed_exactly_from_its_line_of_the_log(headrace, lifecycle):
    log = read_predictions(headrace.settings, "flight_delay")
    for prediction_id in (log["prediction_id"].iloc[0], log["prediction_id"].iloc[-1]):
        done = headrace("lineage", "--prediction", prediction_id, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["exact"] and found["recomputed"] == found["line"]["score"] and found["notes"] == []
        assert found["dataset"] and found["git"]["commit"] and found["flow"]["flow_run"] != "none"
    refused = headrace("lineage", "--prediction", "0" * 32)
    assert refused.returncode == 1 and f"No prediction '{'0' * 32}' is in the log of" in " ".join(
        refused.stderr.split()
    )
    assert headrace("lineage").returncode == 2


def test_a_correction_that_was_ingested_since_is_the_cause(headrace, lifecycle, tmp_path):
    settings = headrace.settings
    with connect(settings, only=["weather"]) as connection:
        rows = connection.execute("SELECT * FROM weather ORDER BY known_at, origin").df()
    at = datetime.fromisoformat("2013-03-25T00:00:00+00:00")

    def ingest(frame: pd.DataFrame) -> None:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
        frame.to_parquet(path, index=False)
        source = Source(kind="parquet", location=str(path))
        gates = Gates(quarantined=1, unmatched=1)
        table = settings.tables["weather"].model_copy(update={"source": source, "gates": gates, "references": {}})
        changed = settings.model_copy(update={"tables": {**settings.tables, "weather": table}})
        ingest_table(changed, "weather", at)
        compute(changed, "weather")

    corrected = rows.copy()
    day = rows["known_at"].dt.floor("D") == pd.Timestamp("2013-02-03", tz="UTC")
    corrected.loc[day, "temp"] += 5
    ingest(corrected)
    try:
        done = headrace("reproduce", "flight_delay", "1", "--json")
        found = json.loads(done.stdout)
        assert done.returncode == 1 and not found["identical"]
        checks = {each["what"]: each for each in found["checks"]}
        assert not checks["training frame"]["same"] and checks["rows"]["same"]
        assert checks["columns that differ"]["now"].endswith(": temp")
        assert any(
            cause.startswith("table weather: the rows known then are different now") for cause in found["causes"]
        )
        assert not any("outcomes" in cause for cause in found["causes"])
        told = headrace("reproduce", "flight_delay", "1")
        assert told.returncode == 1 and "Likely cause" in told.stdout
    finally:
        ingest(rows)
    again = headrace("reproduce", "flight_delay", "1", "--json")
    assert again.returncode == 0, again.stdout[-2000:]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("flight_delay", "99"), "Model 'flight_delay' has no version 99; registered: "),
        (("flight_dely",), "There is no model 'flight_dely'. Did you mean 'flight_delay'?"),
        (("flight_delay", "feedbeef"), "Model 'flight_delay' has no version or run 'feedbeef'; expected a version's"),
        (("card_fraud",), "Model 'card_fraud' has no champion; give a version (registered: none) or a run."),
    ],
)
def test_what_there_is_not_is_said(headrace, lifecycle, arguments, sentence):
    done = headrace("reproduce", *arguments)
    assert done.returncode == 1 and sentence in " ".join(done.stderr.split()), done.stderr
