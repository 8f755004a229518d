"""The simulated payments: the same from the same seed, in pieces or whole, with what is planted where it is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import load_settings
from configs.table import Source, Table
from feature_repo.examples import card_payments
from feature_repo.tables.sources import SourceError, batches, source_fingerprint

TABLES = {
    "card_authorizations": card_payments.authorizations,
    "card_transactions": card_payments.transactions,
    "card_labels": card_payments.labels,
    "cards": card_payments.cards,
    "card_merchants": card_payments.merchants,
}


def whole(table: str, rows: int = 30_000, seed: int = 7) -> pd.DataFrame:
    return pd.concat(TABLES[table](rows, seed), ignore_index=True)


@pytest.fixture(scope="module")
def large() -> dict[str, pd.DataFrame]:
    return {table: whole(table, card_payments.ROWS, card_payments.SEED) for table in TABLES}


def test_three_in_a_thousand_are_fraud(large):
    assert len(large["card_authorizations"]) == len(large["card_labels"]) == card_payments.ROWS
    assert 0.0025 < large["card_labels"]["fraud"].mean() < 0.0037


def test_times_fill_the_year_and_keys_are_unique(large):
    asked = large["card_authorizations"]
    year = asked["authorized_at"]
    assert year.min() < card_payments.START + pd.Timedelta(days=1) and year.max() < card_payments.START + pd.Timedelta(
        days=365
    )
    assert year.dt.date.nunique() == 365
    assert asked["transaction_id"].is_unique and large["cards"]["card_id"].is_unique
    assert not large["card_transactions"].duplicated(["transaction_id", "known_at"]).any()
    assert set(asked["card_id"]) == set(large["cards"]["card_id"])
    assert set(asked["merchant_id"]) <= set(large["card_merchants"]["merchant_id"])
    assert (asked.groupby("card_id")["authorized_at"].is_monotonic_increasing).all()


def test_labels_come_late(large):
    both = large["card_authorizations"].merge(large["card_labels"], on="transaction_id")
    took = both["known_at"] - both["authorized_at"]
    assert (took[~both["fraud"]] == pd.Timedelta(days=21)).all()
    reported = took[both["fraud"]]
    assert reported.min() >= pd.Timedelta(days=1) and reported.max() <= pd.Timedelta(days=21)
    assert pd.Timedelta(days=3) < reported.median() < pd.Timedelta(days=8)


def test_postings_are_late_in_the_outage_and_nowhere_else(large):
    posted = large["card_transactions"].sort_values("known_at").drop_duplicates("transaction_id")
    took = posted["known_at"] - posted["authorized_at"]
    moment = posted["authorized_at"]
    stuck = (
        (posted["country"] == card_payments.OUTAGE_COUNTRY)
        & (moment >= card_payments.OUTAGE_FROM)
        & (moment < card_payments.OUTAGE_UNTIL)
    )
    assert 20 < stuck.sum() < 200
    assert (took[stuck] > card_payments.OUTAGE_DELAY).all()
    assert took[~stuck].between(pd.Timedelta(seconds=2), pd.Timedelta(seconds=602)).all()


def test_corrections_are_second_rows_known_at_one_moment(large):
    posted = large["card_transactions"].sort_values(["transaction_id", "known_at"])
    again = posted[posted["transaction_id"].duplicated(keep=False)]
    first, second = again.iloc[::2].reset_index(drop=True), again.iloc[1::2].reset_index(drop=True)
    assert 100 < len(second) == len(first) < 400
    unchanged = ["transaction_id", "card_id", "merchant_id", "country", "authorized_at"]
    pd.testing.assert_frame_equal(first[unchanged], second[unchanged])
    assert (second["known_at"] == card_payments.CORRECTED_AT).all() and (
        first["known_at"] < card_payments.CORRECTED_AT
    ).all()
    assert (
        first["authorized_at"]
        .between(card_payments.MISPOSTED_FROM, card_payments.MISPOSTED_UNTIL, inclusive="left")
        .all()
    )
    assert first["amount"].to_numpy() == pytest.approx(second["amount"].to_numpy() * 10)
    asked = large["card_authorizations"].set_index("transaction_id")["amount"]
    final = posted.drop_duplicates("transaction_id", keep="last").set_index("transaction_id")["amount"]
    pd.testing.assert_series_equal(asked.sort_index(), final.sort_index())


def test_corrected_merchants_keep_their_event_time(large):
    listed = large["card_merchants"]
    again = listed[listed["merchant_id"].duplicated(keep=False)].sort_values(["merchant_id", "known_at"])
    first, second = again.iloc[::2], again.iloc[1::2]
    assert len(second) == 50 and (second["known_at"] == card_payments.RECODED_AT).all()
    assert (first["category"] == "grocery").all() and not (second["category"] == "grocery").all()
    assert (first["opened_at"].to_numpy() == second["opened_at"].to_numpy()).all()


def test_from_one_day_on_amounts_and_fraud_are_others(large):
    both = large["card_authorizations"].merge(large["card_labels"][["transaction_id", "fraud"]], on="transaction_id")
    after = both["authorized_at"] >= card_payments.DRIFT_AT
    medians = both[~both["fraud"]].groupby(after)["amount"].median()
    assert 1.15 < medians[True] / medians[False] < 1.35
    online = (both["channel"] == "online").groupby(after).mean()
    assert online[True] > online[False] + 0.05
    tiny = (both["amount"] < 4) & both["fraud"]
    assert tiny[after].sum() > 40 and tiny[~after].sum() < 10


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 90_000), st.integers(1, 90_000), st.integers(0, 10**9))
def test_more_rows_only_add_at_the_end(one, other, seed):
    fewer, more = sorted((one, other))
    for table in ("card_authorizations", "card_labels", "cards"):
        small, large = whole(table, fewer, seed), whole(table, more, seed)
        assert len(large) == more or table == "cards"
        pd.testing.assert_frame_equal(large.head(len(small)), small)


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 150_000), st.integers(0, 50), st.integers(1, 120_000))
def test_files_of_any_size_hold_the_same_rows(rows, seed, file_rows):
    with TemporaryDirectory() as folder:
        counts = card_payments.write(Path(folder), rows, seed, file_rows)
        for table in TABLES:
            files = sorted((Path(folder) / table).iterdir())
            found = pd.concat([pq.ParquetFile(file).read().to_pandas() for file in files], ignore_index=True)
            pd.testing.assert_frame_equal(found, whole(table, rows, seed))
            assert counts[table] == len(found)


def test_another_seed_gives_other_payments():
    assert not whole("card_authorizations", 500, 1).equals(whole("card_authorizations", 500, 2))


@pytest.mark.parametrize("environment", ["local", "tests/environments/embedded", "tests/environments/production"])
def test_all_tables_are_of_one_simulation(environment):
    variables = {"HEADRACE_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1", "HEADRACE_REDIS": "127.0.0.1:1"}
    tables = load_settings(environment, variables).tables
    options = [tables[table].source.options for table in TABLES]
    assert options == [options[0]] * len(options) and set(options[0]) == {"rows", "seed"}
    for table, function in TABLES.items():
        assert list(tables[table].columns) == list(next(function(10, 7)).columns)
        assert source_fingerprint(table, tables[table].source)


def test_the_options_are_part_of_the_fingerprint():
    source = load_settings("local", {}).tables["cards"].source
    other = source.model_copy(update={"options": {"rows": 10, "seed": 7}})
    assert source_fingerprint("cards", source) != source_fingerprint("cards", other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, r"'cards'.*rows = 0: expected a whole number from 1 to 1,000,000,000"),
        ({"rows": 10, "seed": -1}, r"seed = -1: expected a whole number from 0 to"),
        ({"rows": "many"}, r"rows = 'many': expected a whole number"),
        ({"rows": True}, r"rows = True: expected a whole number"),
        ({"row": 10}, r"'cards'.*cannot be called with options = \{'row': 10\}: got an unexpected keyword .*'row'"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_sentence(options, message):
    table = load_settings("local", {}).tables["cards"]
    table = table.model_copy(update={"source": table.source.model_copy(update={"options": options})})
    with pytest.raises(SourceError, match=message):
        list(batches("cards", table))


def test_only_functions_take_options():
    with pytest.raises(ValueError, match="options are the arguments of a Python function; a csv source has none"):
        Source(kind="csv", location="x.csv", options={"rows": 3})


def test_a_table_reads_what_its_options_say():
    declared = load_settings("local", {}).tables["card_labels"].model_dump()
    declared["source"]["options"] = {"rows": 777, "seed": 3}
    found = pd.concat(batches("card_labels", Table.model_validate(declared)), ignore_index=True)
    pd.testing.assert_frame_equal(found, whole("card_labels", 777, 3))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "feature_repo.examples.card_payments", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_folders_once(tmp_path):
    done = run("--rows", "1000", "--out", str(tmp_path))
    assert done.returncode == 0 and f"{tmp_path / 'card_labels'}: 1,000 simulated rows" in done.stdout
    again = run("--rows", "1000", "--out", str(tmp_path))
    assert (
        again.returncode == 2 and "card_authorizations contains files already; choose an empty folder." in again.stderr
    )
    bad = run("--rows", "-5", "--out", str(tmp_path / "new"))
    assert bad.returncode == 2 and "rows = -5: expected a whole number from 1" in bad.stderr
    assert not (tmp_path / "new").exists()
