"""Ingest: every row is stored, quarantined or not yet known, and nothing is half done."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.settings import Settings, Source, load_settings
from feature_repo import quality, tables
from feature_repo.sources import SourceError, read, source_fingerprint

END = datetime(2014, 1, 1, tzinfo=UTC)


def weather(hours: int = 60, **changes: object) -> pd.DataFrame:
    observed = pd.date_range("2013-05-01", periods=hours, freq="h", tz="UTC")
    frame = pd.DataFrame(
        {
            "origin": "JFK",
            **dict.fromkeys(["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "visib"], 10.0),
            "pressure": 1010.0,
            "observed_at": observed,
            "known_at": observed + pd.Timedelta(hours=1),
        }
    )
    return frame.assign(**changes)


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    loaded = load_settings("local", {"HEADRACE_HOME": str(tmp_path / "home")})
    source = Source(
        kind="parquet",
        location=str(tmp_path / "weather.parquet"),
        key=["origin", "observed_at"],
        day="observed_at",
        known_at="known_at",
    )
    return loaded.model_copy(update={"sources": {"weather": source}})


def put(settings: Settings, frame: pd.DataFrame) -> None:
    frame.to_parquet(settings.sources["weather"].location)


def held(settings: Settings, as_of: datetime | None = None) -> pd.DataFrame:
    with tables.connect(settings, as_of) as connection:
        return connection.execute("SELECT * FROM weather ORDER BY observed_at").df()


def test_rows_in_are_rows_out_and_quarantined_and_later(here):
    put(here, weather(60, wind_speed=[10.0] * 58 + [1048.0, -3.0]))
    found, changed = tables.ingest_table(here, "weather", datetime(2013, 5, 2, tzinfo=UTC))
    assert changed
    assert (found.rows_in, found.rows_out, found.quarantined, found.later) == (60, 24, 2, 34)
    refused = pd.read_parquet(tables.table_path(here, "weather") / "quarantine.parquet")
    assert refused["reason"].tolist() == [
        "wind_speed = 1048.0 fails in_range(0, 150)",
        "wind_speed = -3.0 fails in_range(0, 150)",
    ]


def test_the_same_source_again_is_not_read(here, monkeypatch):
    put(here, weather())
    first, _ = tables.ingest_table(here, "weather", END)
    monkeypatch.setattr(tables, "read", lambda *_: pytest.fail("was read again"))
    again, changed = tables.ingest_table(here, "weather", END)
    assert again == first and not changed


def test_an_earlier_moment_takes_nothing_away(here):
    put(here, weather())
    tables.ingest_table(here, "weather", END)
    tables.ingest_table(here, "weather", datetime(2013, 5, 2, tzinfo=UTC))
    assert len(held(here)) == 60
    assert len(held(here, datetime(2013, 5, 2, tzinfo=UTC))) == 24


def test_new_rows_leave_the_files_of_other_days_alone(here):
    put(here, weather(48))
    before, _ = tables.ingest_table(here, "weather", END)
    put(here, weather(60))
    after, _ = tables.ingest_table(here, "weather", END)
    assert after.fingerprint != before.fingerprint
    assert {day: after.files[day] for day in before.files} == before.files
    assert len(held(here)) == 60


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(30)))
def test_the_fingerprint_is_of_content_not_of_order(tmp_path_factory, order):
    folder = tmp_path_factory.mktemp("content")
    loaded = load_settings("local", {"HEADRACE_HOME": str(folder / "home")})
    source = Source(
        kind="parquet", location=str(folder / "w.parquet"), key=["origin", "observed_at"], day="observed_at"
    )
    loaded = loaded.model_copy(update={"sources": {"weather": source}})
    frame = weather(30)
    frame.to_parquet(source.location)
    plain, _ = tables.ingest_table(loaded, "weather", END)
    frame.iloc[list(order)].to_parquet(source.location)
    shuffled, _ = tables.ingest_table(loaded, "weather", END)
    assert shuffled.fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="temp"), "column 'temp' is missing"),
        (lambda frame: frame.assign(colour="red"), "column 'colour' is not declared"),
        (lambda frame: frame.assign(temp="warm"), "Table 'weather', column 'temp'"),
    ],
)
def test_a_table_that_fails_whole_changes_nothing(here, change, message):
    put(here, weather())
    before, _ = tables.ingest_table(here, "weather", END)
    put(here, change(weather()))
    with pytest.raises(quality.TableError, match=message):
        tables.ingest_table(here, "weather", END)
    assert tables.manifest(here, "weather") == before
    assert len(held(here)) == 60


def test_duplicates_keep_their_first_row(here):
    frame = weather(5)
    put(here, pd.concat([frame, frame.iloc[[2]].assign(temp=99.0)]))
    found, _ = tables.ingest_table(here, "weather", END)
    assert (found.rows_out, found.quarantined) == (5, 1)
    assert held(here)["temp"].tolist() == [10.0] * 5


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_folders_and_globs(tmp_path, kind):
    frame = pd.DataFrame({"carrier": ["UA", "AA"], "name": ["United", "American"]})
    for number in range(2):
        path = tmp_path / f"part{number}.{kind}"
        frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path, index=False)
    for location in (tmp_path, tmp_path / f"*.{kind}"):
        source = Source(kind=kind, location=str(location), key=["carrier"])
        assert len(read("airlines", source)) == 4
    one = Source(kind=kind, location=str(tmp_path / f"part0.{kind}"), key=["carrier"])
    first = source_fingerprint("airlines", one)
    assert len(read("airlines", one)) == 2
    os.utime(one.location, ns=(1, 1))
    assert source_fingerprint("airlines", one) != first


def test_a_query_on_postgresql(monkeypatch):
    import psycopg

    server = os.environ.get("HEADRACE_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432/test")
    table = f"airlines_{uuid.uuid4().hex[:8]}"
    try:
        connection = psycopg.connect(server, connect_timeout=5, autocommit=True)
    except psycopg.OperationalError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no PostgreSQL at HEADRACE_TEST_POSTGRES")
    with connection:
        connection.execute(f"CREATE TABLE {table} AS SELECT 'UA' AS carrier, 'United' AS name")
        try:
            monkeypatch.setenv("AIRLINES_URL", server.replace("postgresql://", "postgresql+psycopg://"))
            source = Source(kind="sql", location=f"SELECT * FROM {table}", key=["carrier"], url_env="AIRLINES_URL")
            assert read("airlines", source).to_dict("records") == [{"carrier": "UA", "name": "United"}]
            wrong = source.model_copy(update={"location": "SELECT * FROM no_such_table_here"})
            with pytest.raises(SourceError, match="no_such_table_here"):
                read("airlines", wrong)
        finally:
            connection.execute(f"DROP TABLE {table}")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Source(kind="csv", location="/nowhere/*.csv", key=["a"]), "no csv file at '/nowhere/\\*.csv'"),
        (Source(kind="python", location="feature_repo.nycflights:flihgts", key=["a"]), "cannot be imported"),
        (Source(kind="sql", location="SELECT 1", key=["a"], url_env="NO_SUCH_URL"), "NO_SUCH_URL"),
    ],
)
def test_a_source_that_cannot_be_read_says_so(source, message):
    with pytest.raises(SourceError, match=message):
        read("airlines", source)


def test_the_schema_of_an_unknown_table_names_the_nearest():
    with pytest.raises(quality.TableError, match="Did you mean 'weather'"):
        quality.schema("wether")
