"""Features of simulated payments use what was known, and no more: with late rows, corrections and ties."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.examples import card_payments as simulated
from feature_repo.transforms.cards import QUERIES
from feature_repo.transforms.corrected import corrected
from feature_repo.transforms.purchase import purchase_features

WINDOWED = ["card_velocity", "card_spending", "card_habits", "card_country"]
#: Moments around what is planted, and one where nothing is.
MOMENTS = [
    "2013-02-09 03:00",
    "2013-03-05 18:00",  # within the outage
    "2013-03-07 18:00",  # some of what was held back has arrived
    str(simulated.RECODED_AT - timedelta(seconds=1)),
    str(simulated.CORRECTED_AT - timedelta(seconds=1)),
    str(simulated.CORRECTED_AT),
]


@pytest.fixture(scope="module")
def raw() -> dict[str, pd.DataFrame]:
    loaders = {
        "card_transactions": simulated.transactions,
        "card_labels": simulated.labels,
        "card_merchants": simulated.merchants,
        "cards": simulated.cards,
    }
    frames = {name: pd.concat(loader(20_000, 7), ignore_index=True) for name, loader in loaders.items()}
    until = pd.Timestamp("2013-05-01", tz="UTC")
    return {name: frame[frame["known_at"] < until] if "known_at" in frame else frame for name, frame in frames.items()}


def run(tables: dict[str, pd.DataFrame], query: str) -> pd.DataFrame:
    """Rows of a query, ordered by time and keys."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, frame in tables.items():
            connection.register(name, pa.Table.from_pandas(frame, preserve_index=False))
        found = connection.execute(query).df()
    keys = list(found.columns[: list(found.columns).index("event_timestamp")])
    return found.sort_values(["event_timestamp", "known_at", *keys], ignore_index=True)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("view", list(QUERIES))
def test_truncating_the_raw_data_changes_no_feature_before(raw, view, moment):
    at = pd.Timestamp(moment).tz_localize("UTC") if "+" not in moment else pd.Timestamp(moment)
    cut = {name: frame[frame["known_at"] <= at] if "known_at" in frame else frame for name, frame in raw.items()}
    whole = run(raw, QUERIES[view].sql)
    after = run(cut, QUERIES[view].sql)
    assert len(after) > 0 and after["known_at"].max() <= at
    pd.testing.assert_frame_equal(after, whole[whole["known_at"] <= at].reset_index(drop=True), check_exact=True)


@pytest.mark.parametrize("view", [view for view in QUERIES if QUERIES[view].lookback])
def test_a_month_needs_no_more_than_the_view_says_it_looks_back(raw, view):
    """`feature_repo.materialization.backfill` computes a month from just these days."""
    start, end = pd.Timestamp("2013-04-01", tz="UTC"), pd.Timestamp("2013-05-01", tz="UTC")
    table = QUERIES[view].tables[0]
    whole = run(raw, QUERIES[view].sql)
    expected = whole[(whole["event_timestamp"] >= start) & (whole["event_timestamp"] < end)].reset_index(drop=True)
    known = raw[table]["known_at"]
    near = raw[table][(known >= (start - QUERIES[view].lookback).floor("D")) & (known < end)]
    found = run({**raw, table: near}, QUERIES[view].sql)
    found = found[found["event_timestamp"] >= start].reset_index(drop=True)
    assert len(found) > 500
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def known(posted: pd.DataFrame, at: pd.Timestamp, length: str) -> pd.DataFrame:
    """What was known at a moment of the transactions of the time before it: one row each, the latest known."""
    then = posted[posted["known_at"] <= at].sort_values("known_at").drop_duplicates("transaction_id", keep="last")
    return then[then["authorized_at"] > at - pd.Timedelta(length)]


def expected(mine: pd.DataFrame, name: str) -> float:
    what = name.split("_")[-2]
    if what == "count":
        return len(mine)
    if what in ("merchants", "countries"):
        return mine[{"merchants": "merchant_id", "countries": "country"}[what]].nunique()
    if mine.empty:
        return np.nan
    return {"sum": np.sum, "mean": np.mean, "max": np.max, "spread": np.std}[what](mine["amount"].to_numpy())


@pytest.mark.parametrize("view", WINDOWED)
def test_windows_equal_a_reference_that_looks_at_every_posting(raw, view):
    found = run(raw, QUERIES[view].sql)
    keys = list(found.columns[: list(found.columns).index("event_timestamp")])
    posted = raw["card_transactions"]
    late = posted[posted["known_at"] - posted["authorized_at"] > pd.Timedelta(days=1)]  # held back, or a correction
    interesting = found.merge(late[["card_id", "known_at"]].drop_duplicates(), on=["card_id", "known_at"])
    assert len(interesting) > 10
    for _, row in pd.concat([interesting, found.sample(60, random_state=3)]).iterrows():
        mine = posted[(posted[keys] == row[keys]).all(axis=1)]
        for name in found.columns[len(keys) + 2 :]:
            length = name.rsplit("_", 1)[-1]
            assert row[name] == pytest.approx(expected(known(mine, row["known_at"], length), name), nan_ok=True), name


def test_one_row_for_every_moment_at_which_something_became_known(raw):
    for view in WINDOWED:
        found = run(raw, QUERIES[view].sql)
        keys = [*found.columns[: list(found.columns).index("event_timestamp")], "known_at"]
        wanted = raw["card_transactions"][keys].drop_duplicates()
        assert len(found) == len(wanted) == len(found.merge(wanted, on=keys))


def test_a_corrected_amount_is_seen_from_the_correction_on(raw):
    posted = raw["card_transactions"].sort_values("known_at")
    amounts = posted.groupby("transaction_id")["amount"].agg(["first", "last", "size"])
    wrong = amounts[(amounts["size"] == 2) & (amounts["first"] > 300)].index
    assert len(wrong) > 3
    habits = run(raw, QUERIES["card_habits"].sql)
    for transaction in wrong:
        one = posted[posted["transaction_id"] == transaction]
        mine = habits[habits["card_id"] == one["card_id"].iloc[0]].set_index("known_at")
        before = mine[(mine.index >= one["known_at"].iloc[0]) & (mine.index < simulated.CORRECTED_AT)]
        assert (before["card_max_28d"] >= one["amount"].iloc[0]).all()
        # all that was posted ten times too large is corrected at this same moment
        assert mine.loc[simulated.CORRECTED_AT, "card_max_28d"] < before["card_max_28d"].min()
        all_of_card = posted[posted["card_id"] == one["card_id"].iloc[0]]
        counted = known(all_of_card, pd.Timestamp(simulated.CORRECTED_AT), "28d")
        assert mine.loc[simulated.CORRECTED_AT, "card_count_28d"] == len(counted)


def test_a_merchant_is_as_risky_as_was_reported_by_then(raw):
    found, labels = run(raw, QUERIES["merchant_risk"].sql), raw["card_labels"]
    reported = labels[labels["fraud"]][["merchant_id", "known_at"]]
    after = found.merge(reported, on=["merchant_id", "known_at"])
    assert len(after) > 5
    for _, row in pd.concat([after, found.sample(30, random_state=1)]).iterrows():
        mine = labels[(labels["merchant_id"] == row["merchant_id"]) & (labels["known_at"] <= row["known_at"])]
        for days in (28, 90):
            window = mine[mine["known_at"] >= row["known_at"] - pd.Timedelta(days=days)]
            rate = (window["fraud"].sum() + 0.15) / (len(window) + 50)
            assert row[f"merchant_fraud_rate_{days}d"] == pytest.approx(rate)
        assert row["merchant_labels_90d"] == len(window)


def test_attributes_of_a_corrected_merchant_share_their_event_time(raw):
    found = run(raw, QUERIES["merchant_attributes"].sql)
    again = found[found["merchant_id"].duplicated(keep=False)].groupby("merchant_id")
    assert len(again) == 50
    assert (again["event_timestamp"].nunique() == 1).all() and (again["known_at"].nunique() == 2).all()


START = pd.Timestamp("2013-01-01", tz="UTC")
#: Transactions: entity, time in minutes, then (minutes from the time until known, cents) of each of its rows.
HISTORIES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(0, 300),
        st.dictionaries(st.integers(0, 240), st.integers(-50, 50), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=25,
)
LENGTHS = {"10_MINUTES": pd.Timedelta(minutes=10), "1_HOUR": pd.Timedelta(hours=1), "2_HOURS": pd.Timedelta(hours=2)}
MEASURES = {"n": "count(*){}", "total": "sum(cents){}", "most": "max(cents){}", "kinds": "count(DISTINCT cents){}"}


@settings(max_examples=60, deadline=None)
@given(HISTORIES)
def test_any_history_of_late_rows_corrections_and_ties(history):
    rows = [
        {
            "id": str(number),
            "entity": entity,
            "happened_at": START + pd.Timedelta(minutes=minute),
            "known_at": START + pd.Timedelta(minutes=minute + delay),
            "cents": cents,
        }
        for number, (entity, minute, versions) in enumerate(history)
        for delay, cents in versions.items()
    ]
    events = pd.DataFrame(rows).astype(dict.fromkeys(["happened_at", "known_at"], "datetime64[us, UTC]"))
    features = {
        f"{name}_{length}": (measure, length.replace("_", " "))
        for length in LENGTHS
        for name, measure in MEASURES.items()
    }
    found = run({"events": events}, corrected("events", "id", "entity", "happened_at", features))
    assert len(found) == len(events[["entity", "known_at"]].drop_duplicates())
    for _, row in found.iterrows():
        assert row["event_timestamp"] == row["known_at"]
        then = events[(events["entity"] == row["entity"]) & (events["known_at"] <= row["known_at"])]
        then = then.sort_values("known_at").drop_duplicates("id", keep="last")
        for length, span in LENGTHS.items():
            cents = then[then["happened_at"] > row["known_at"] - span]["cents"]
            assert row[f"n_{length}"] == len(cents) and row[f"kinds_{length}"] == cents.nunique()
            total, most = (cents.sum(), cents.max()) if len(cents) else (np.nan, np.nan)
            assert row[f"total_{length}"] == pytest.approx(total, nan_ok=True)
            assert row[f"most_{length}"] == pytest.approx(most, nan_ok=True)


def test_a_length_that_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match="'7 FORTNIGHTS' cannot be read"):
        corrected("events", "id", "entity", "happened_at", {"n": ("count(*){}", "7 FORTNIGHTS")})


def test_a_request_tells_its_hour_whether_in_seconds_or_as_a_time():
    moments = pd.Series(pd.to_datetime(["2013-03-02 22:15:00", "2013-03-04 05:59:59", "2013-03-04 06:00:00"], utc=True))
    asked = pd.DataFrame({"amount": [5, 7.5, 1.0], "channel": ["chip", "online", "chip"], "authorized_at": moments})
    found = purchase_features(asked)
    assert found["purchase_hour"].tolist() == [22, 5, 6]
    assert found["purchase_at_night"].tolist() == [1, 1, 0]
    assert found["purchase_weekday"].tolist() == [5, 0, 0]
    assert found["purchase_channel"].tolist() == ["chip", "online", "chip"]
    seconds = (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    pd.testing.assert_frame_equal(found, purchase_features(asked.assign(authorized_at=seconds)))
