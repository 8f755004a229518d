"""Simulated payments from raw tables to a training frame: without servers, and without a look into the future."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs import load_model, load_settings
from configs.settings import Settings
from configs.table import ingest_order
from feature_repo.definitions.dependencies import model_tables, service_views
from feature_repo.definitions.feature_store import apply, request_features, retrieve
from feature_repo.examples import card_payments
from feature_repo.frames import frame_parts
from feature_repo.frames import training_frame as training_frame_module
from feature_repo.frames.expired_values import retrieve_as_served
from feature_repo.frames.training_frame import (
    PREDICTION_TIME,
    FrameError,
    TrainingFrame,
    labels,
    model_inputs,
    requests,
    training_frame,
)
from feature_repo.materialization.backfill import compute
from feature_repo.materialization.online_write import write_online
from feature_repo.online.reader import OnlineReader
from feature_repo.tables import connect, ingest_table

AS_OF = datetime(2013, 4, 25, tzinfo=UTC)
SPEC = load_model("card_fraud", "local")
FINAL = pd.Timedelta(days=21)


def made(home: Path, rows: int, as_of: datetime) -> Settings:
    """Settings of a home that holds the simulation's tables and views as known at ``as_of``."""
    loaded = load_settings("local", {"HEADRACE_HOME": str(home)})
    tables = {
        name: table.model_copy(
            update={"source": table.source.model_copy(update={"options": {"rows": rows, "seed": 7}})}
        )
        for name, table in loaded.tables.items()
        if name in model_tables(loaded, SPEC, references=True)
    }
    settings = loaded.model_copy(update={"tables": tables})
    for name in ingest_order(tables):
        held, _ = ingest_table(settings, name, as_of)
        assert held.quarantined == 0
    for view in service_views(settings, SPEC.feature_service):
        compute(settings, view)
    apply(settings)
    return settings


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    before = dict(os.environ)
    yield made(tmp_path_factory.mktemp("cards") / "home", 20_000, AS_OF)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def frame(here: Settings) -> TrainingFrame:
    return training_frame(here, SPEC, AS_OF)


@pytest.mark.parametrize("value", [np.inf, -1e39])
def test_a_number_that_is_not_finite_is_refused_with_its_view(here, frame, value, monkeypatch):
    def infinite(*arguments):
        found = retrieve_as_served(*arguments)
        found.rows.loc[3, "card_max_1h"] = value
        return found

    expected = (
        rf"Model 'card_fraud': feature 'card_max_1h' of view 'card_velocity' is infinite or beyond ±3.4e\+38 in 1 of "
        rf"[\d,]+ rows, for example {re.escape(str(value))} where transaction_id = .*; return null there"
    )
    for module in (training_frame_module, frame_parts):
        monkeypatch.setattr(module, "retrieve_as_served", infinite)
    with pytest.raises(FrameError, match=expected):
        training_frame(here, SPEC, AS_OF)
    with pytest.raises(FrameError, match=expected):
        frame_parts.build_parts(here, SPEC, AS_OF)


def test_every_payment_old_enough_for_both_outcomes_is_there(here, frame):
    with connect(here, AS_OF) as connection:
        asked = connection.execute("SELECT transaction_id, authorized_at FROM card_authorizations").df()
        told = connection.execute("SELECT transaction_id, fraud, known_at FROM card_labels").df()
    ripe = asked[asked["authorized_at"] <= pd.Timestamp(AS_OF) - FINAL]
    assert set(frame.rows["transaction_id"]) == set(ripe["transaction_id"])
    assert (frame.rows[PREDICTION_TIME] == frame.rows["authorized_at"]).all()
    young = told[~told["transaction_id"].isin(ripe["transaction_id"])]
    assert len(young) > 0 and young["fraud"].all()  # what would come in without `matures`: frauds, and nothing else


def test_an_outcome_counts_when_the_other_one_could_be_known_too(here, frame):
    found = frame.rows[["transaction_id", "authorized_at"]].merge(labels(here, SPEC, AS_OF), on="transaction_id")
    assert (found["label_known_at"] == found["authorized_at"] + FINAL).all()
    assert len(labels(here, SPEC, AS_OF)) == len(frame.rows)
    everything = labels(
        here, SPEC.model_copy(update={"label": SPEC.label.model_copy(update={"matures": 0 * FINAL})}), AS_OF
    )
    assert len(everything) > len(frame.rows) and everything["label_known_at"].max() <= pd.Timestamp(AS_OF)


def test_a_payment_is_not_among_its_own_features(frame):
    first = frame.rows.groupby("card_id")["authorized_at"].idxmin()
    of_card = [name for name in frame.features if name.endswith(("_1h", "_1d", "_7d", "_28d")) and "card_" in name]
    assert len(of_card) == 18
    assert frame.rows.loc[first, of_card].isna().all(axis=None)
    assert frame.rows.drop(first)["card_count_28d"].notna().mean() > 0.95


def test_features_equal_a_reference_that_looks_at_every_posting(here, frame):
    with connect(here) as connection:
        posted = connection.execute("SELECT * FROM card_transactions").df()
    corrected = posted[posted["known_at"] == pd.Timestamp(card_payments.CORRECTED_AT)]["card_id"]
    affected = frame.rows[
        frame.rows["card_id"].isin(corrected)
        & frame.rows["authorized_at"].between(
            card_payments.MISPOSTED_FROM, card_payments.CORRECTED_AT + pd.Timedelta(days=5)
        )
    ]
    assert len(affected) > 50
    fast = frame.rows[frame.rows["card_count_1h"] > 1]
    for _, row in pd.concat([affected.sample(40, random_state=1), fast.sample(20, random_state=1)]).iterrows():
        mine = posted[(posted["card_id"] == row["card_id"]) & (posted["known_at"] <= row["authorized_at"])]
        moment = mine["known_at"].max()  # the latest at which anything was learned of the card
        then = mine.sort_values("known_at").drop_duplicates("transaction_id", keep="last")
        for length in ("1h", "1d", "28d"):
            window = then[then["authorized_at"] > moment - pd.Timedelta(length)]
            expired = row["authorized_at"] - moment > {"1d": pd.Timedelta("7d")}.get(length, pd.Timedelta(length))
            most = np.nan if expired or window.empty else window["amount"].max()
            assert row[f"card_count_{length}"] == pytest.approx(np.nan if expired else len(window), nan_ok=True)
            assert row[f"card_max_{length}"] == pytest.approx(most, nan_ok=True)


def test_a_merchant_is_what_it_was_listed_as_by_then(here, frame):
    with connect(here) as connection:
        listed = connection.execute("SELECT merchant_id, category, known_at FROM card_merchants").df()
    again = listed[listed["merchant_id"].duplicated(keep=False)].sort_values("known_at")
    both = frame.rows.merge(again.drop_duplicates("merchant_id", keep="last"), on="merchant_id")
    later = both["authorized_at"] >= pd.Timestamp(card_payments.RECODED_AT)
    assert later.sum() > 20 and (~later).sum() > 20
    assert (both.loc[~later, "merchant_category"] == "grocery").all()
    assert (both.loc[later, "merchant_category"] == both.loc[later, "category"]).all()


def test_the_endpoint_would_be_served_the_same(here):
    """Each card's payments of the last days asked for again at one moment: offline, and from the online store."""
    moment = AS_OF - timedelta(hours=6)  # in the afternoon some cards were used within the last hour
    asked = requests(here, SPEC, moment - timedelta(days=5), moment, AS_OF)
    asked[PREDICTION_TIME] = pd.Timestamp(moment)
    for view in service_views(here, SPEC.feature_service):
        write_online(here, view, moment)
    offline = retrieve(here, SPEC.feature_service, asked, at=PREDICTION_TIME)
    reader = OnlineReader(here, SPEC.feature_service)
    online = model_inputs(reader.read(asked, asked[PREDICTION_TIME]).features)
    assert len(asked) > 150 and set(reader.entities) == {"card_id", "merchant_id", "country"}
    assert offline["card_count_1h"].notna().any() and offline["card_count_1h"].isna().any()
    pd.testing.assert_frame_equal(online, model_inputs(offline[reader.features]), check_exact=True)


def test_the_bundled_model_fits_its_tables_and_its_requests_have_examples(here):
    assert {SPEC.requests.table, SPEC.label.table} <= set(here.tables)
    assert SPEC.requests.lead == timedelta(0) and SPEC.requests.event_time in SPEC.requests.fields
    for field in [*SPEC.requests.entities.values(), *SPEC.requests.fields.values()]:
        assert field.example is not None and field.description
    assert set(request_features(here, SPEC.feature_service)) >= set(SPEC.monitoring.ignore)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_what_a_card_did_lately_tells_fraud_far_better_than_an_amount(tmp_path):
    """Held out: payments of August and September, before the drift; trained on those before them."""
    from sklearn.metrics import average_precision_score, roc_auc_score
    from xgboost import XGBClassifier

    settings = made(tmp_path / "home", card_payments.ROWS, card_payments.DRIFT_AT + FINAL)
    found = training_frame(settings, SPEC, card_payments.DRIFT_AT + FINAL)
    rows = found.rows
    inputs = rows[found.features].copy()
    texts = [name for name in inputs if inputs[name].dtype == object]
    inputs[texts] = inputs[texts].astype("category")
    train = (rows["authorized_at"] < pd.Timestamp("2013-07-11", tz="UTC")).to_numpy()  # 21 days for the labels
    held_out = (rows["authorized_at"] >= pd.Timestamp("2013-08-01", tz="UTC")).to_numpy()
    figures = {}
    for name, columns in {"amount": ["purchase_amount"], "all": found.features}.items():
        model = XGBClassifier(enable_categorical=True, random_state=0)
        model.fit(inputs.loc[train, columns], rows.loc[train, "label"])
        scores = model.predict_proba(inputs.loc[held_out, columns])[:, 1]
        truth = rows.loc[held_out, "label"]
        figures[name] = (roc_auc_score(truth, scores), average_precision_score(truth, scores))
    assert figures["all"][0] > 0.9 and figures["all"][1] > 0.4, figures
    assert figures["amount"][1] < 0.1, figures
