"""Ingest: every row is stored, quarantined or not yet known, and nothing is half done."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.settings import Settings, load_settings
from configs.table import Cleaning, Column, Gates, Source, Table
from feature_repo import tables
from feature_repo.storage.files import read_json, write_json
from feature_repo.tables import ingest, quality
from feature_repo.tables.table_files import Manifest
from feature_repo.tables.table_profile import held_profile

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
    spec = loaded.tables["weather"].model_copy(
        update={
            "source": Source(kind="parquet", location=str(tmp_path / "weather.parquet"), batch_rows=25),
            "references": {},
            "gates": Gates(quarantined=0.5),
        }
    )
    return loaded.model_copy(update={"tables": {"weather": spec}})


def declared(settings: Settings, **changes: object) -> Settings:
    """The same with ``weather`` declared otherwise; what the models check is checked again."""
    spec = settings.tables["weather"]
    spec = Table.model_validate({**{name: getattr(spec, name) for name in Table.model_fields}, **changes})
    return settings.model_copy(update={"tables": {"weather": spec}})


#: Columns enough for a property of whole rows; each one costs time in every example.
FEW = ["origin", "temp", "pressure", "observed_at", "known_at"]


def with_few_columns(settings: Settings) -> Settings:
    columns = settings.tables["weather"].columns
    return declared(settings, columns={name: columns[name] for name in FEW})


def put(settings: Settings, frame: pd.DataFrame) -> None:
    frame.to_parquet(settings.tables["weather"].source.location)


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
    monkeypatch.setattr(ingest, "batches", lambda *_: pytest.fail("was read again"))
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
    loaded = with_few_columns(load_settings("local", {"HEADRACE_HOME": str(folder / "home")}))
    source = Source(kind="parquet", location=str(folder / "w.parquet"), batch_rows=7)
    spec = loaded.tables["weather"].model_copy(update={"source": source, "references": {}})
    loaded = loaded.model_copy(update={"tables": {"weather": spec}})
    frame = weather(30)[FEW]
    frame.to_parquet(source.location)
    plain, _ = tables.ingest_table(loaded, "weather", END)
    frame.iloc[list(order)].to_parquet(source.location)
    shuffled, _ = tables.ingest_table(loaded, "weather", END)
    assert shuffled.fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.head(0), "gate 'rows': 0 valid rows; expected at least 1"),
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


def test_an_invalid_row_takes_no_valid_one_of_its_key_with_it(here):
    frame = weather(5)
    put(here, pd.concat([frame.assign(temp=[10.0, 10.0, 999.0, 10.0, 10.0]), frame.iloc[[2, 2]]]))
    found, _ = tables.ingest_table(here, "weather", END)
    assert (found.rows_in, found.rows_out, found.quarantined) == (7, 5, 2)
    assert held(here)["temp"].tolist() == [10.0] * 5
    assert found.reasons == {"duplicate key (origin, observed_at)": 1, "temp = 999.0 fails in_range(-60, 130)": 1}


rows = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([-99.0, 1.0, 2.0, 3.0]), st.integers(0, 40)), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(rows, st.sampled_from([None, "first", "last", "temp"]), st.integers(1, 5))
def test_one_row_of_a_key_stays_as_declared(tmp_path_factory, drawn, rule, batch_rows):
    """Against a plain loop: of the valid and known rows of a key one stays, whatever the batches."""
    folder = tmp_path_factory.mktemp("dedupe")
    frame = weather(len(drawn)).assign(
        observed_at=[pd.Timestamp("2013-05-01", tz="UTC") + pd.Timedelta(hours=9 * hour) for hour, _, _ in drawn],
        temp=[temp for _, temp, _ in drawn],
        known_at=[pd.Timestamp("2013-05-04", tz="UTC") + pd.Timedelta(hours=hour) for _, _, hour in drawn],
        pressure=[900.0 + number for number in range(len(drawn))],
    )
    frame = frame[FEW]
    frame.to_parquet(folder / "w.parquet")
    loaded = with_few_columns(load_settings("local", {"HEADRACE_HOME": str(folder / "home")}))
    spec = loaded.tables["weather"].model_copy(
        update={
            "source": Source(kind="parquet", location=str(folder / "w.parquet"), batch_rows=batch_rows),
            "references": {},
            "cleaning": Cleaning(dedupe=rule),
            "gates": Gates(quarantined=1, rows=0),
        }
    )
    loaded = loaded.model_copy(update={"tables": {"weather": spec}})
    as_of = datetime(2013, 5, 5, tzinfo=UTC)
    found, _ = tables.ingest_table(loaded, "weather", as_of)
    expected: dict[pd.Timestamp, pd.Series] = {}
    for _, row in frame[(frame["temp"] > -60) & (frame["known_at"] <= as_of)].iterrows():
        other = expected.get(row["observed_at"])
        if other is None or rule == "last" or (rule == "temp" and row["temp"] > other["temp"]):
            expected[row["observed_at"]] = row
    stored = held(loaded) if found.rows_out else frame.head(0)
    assert stored["pressure"].tolist() == [expected[key]["pressure"] for key in sorted(expected)]
    assert found.rows_in == len(drawn) == found.rows_out + found.quarantined + found.later
    assert found.later == int(((frame["temp"] > -60) & (frame["known_at"] > as_of)).sum())
    refused = pd.read_parquet(tables.table_path(loaded, "weather") / "quarantine.parquet")
    assert len(refused) == found.quarantined and sum(found.reasons.values()) == found.quarantined


def test_a_unique_column_keeps_one_row_of_each_value(here):
    columns = {**here.tables["weather"].columns, "visib": Column(type="number", unique=True, nullable=True)}
    here = declared(here, columns=columns)
    put(here, weather(5, visib=[1.0, 2.0, 1.0, None, None]))
    found, _ = tables.ingest_table(here, "weather", END)
    assert held(here)["visib"].fillna(0).tolist() == [1.0, 2.0, 0.0, 0.0]
    assert found.reasons == {"duplicate value (visib)": 1}


def test_cleaning_counts_what_it_changes(here):
    here = declared(
        here,
        cleaning=Cleaning(
            trim=["origin"], replace={"temp": {"-999": None}, "origin": {"jfk": "JFK"}}, clip={"humid": (0, 100)}
        ),
    )
    frame = weather(30).assign(origin=[" JFK", "jfk ", *["JFK"] * 28], temp=[-999.0] * 26 + [1.0] * 4, humid=101.5)
    put(here, frame)
    found, _ = tables.ingest_table(here, "weather", END)
    assert found.cleaned == {"trim origin": 2, "replace temp": 26, "replace origin": 1, "clip humid": 30}
    stored = held(here)
    assert set(stored["origin"]) == {"JFK"} and set(stored["humid"]) == {100.0} and stored["temp"].isna().sum() == 26


def test_a_table_without_rows_may_be_declared(here):
    here = declared(here, gates=Gates(rows=0))
    put(here, weather(0).astype({"origin": object}))
    found, _ = tables.ingest_table(here, "weather", END)
    assert (found.rows_in, found.files) == (0, {})
    put(here, weather(3))
    assert tables.ingest_table(here, "weather", END)[0].rows_out == 3


def test_rows_of_erased_entities_never_enter(here):
    here.home.mkdir(parents=True)
    frame = weather(6, origin=["JFK", "LGA", "EWR"] * 2, temp=[1.0, 2.0, 999.0, 1.0, 7.0, 1.0])
    put(here, frame)
    tables.ingest_table(here, "weather", END)
    write_json(here.home / "erasures.json", {"origin": ["EWR"], "temp": ["7"], "elsewhere": ["x"]})
    found, changed = tables.ingest_table(here, "weather", END)  # the source is as it was; the erasures are new
    assert changed and (found.read, found.rows_in, found.rows_out, found.erased, found.quarantined) == (6, 3, 3, 3, 0)
    assert set(held(here)["origin"]) == {"JFK", "LGA"} and 7.0 not in set(held(here)["temp"])
    assert not len(pd.read_parquet(tables.table_path(here, "weather") / "quarantine.parquet"))


def test_the_profile_before_the_last_change_is_kept(here):
    folder = tables.table_path(here, "weather")
    put(here, weather(10))
    tables.ingest_table(here, "weather", END)
    first = read_json(folder / "profile.json")
    assert first["rows"] == 10 and not (folder / "profile.previous.json").exists()
    put(here, weather(12))
    tables.ingest_table(here, "weather", END)
    assert read_json(folder / "profile.json")["rows"] == 12
    put(here, weather(12).sample(frac=1, random_state=1))
    assert not tables.ingest_table(here, "weather", END)[1]
    assert read_json(folder / "profile.previous.json") == first


def test_what_nobody_needs_is_swept(here):
    folder = tables.table_path(here, "weather")
    for temp in (1.0, 2.0, 3.0):
        put(here, weather(30, temp=temp))
        found, _ = tables.ingest_table(here, "weather", END)
        (folder / "day=2013-05-01" / ".x.parquet.999999.tmp").write_text("left by a kill")
    tables.ingest_table(here, "weather", END)
    put(here, weather(30, temp=4.0))
    found, _ = tables.ingest_table(here, "weather", END)
    days = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("day=*/*"))
    assert set(found.files.values()) < set(days) and len(days) == 4  # these and those of the ingest before
    assert not (folder / "staging").exists() and not list(folder.rglob("*.tmp"))


def test_a_manifest_of_an_earlier_release_is_read(here):
    put(here, weather(3))
    found, _ = tables.ingest_table(here, "weather", END)
    path = tables.table_path(here, "weather") / "manifest.json"
    since = {"read", "erased", "replaced", "cleaned", "unmatched", "mark", "rules"}
    write_json(path, {key: value for key, value in read_json(path).items() if key not in since})
    old = tables.manifest(here, "weather")
    assert isinstance(old, Manifest) and old.fingerprint == found.fingerprint and old.cleaned == {}


def test_a_profile_that_fails_leaves_the_table_stored_and_is_tried_again(here, monkeypatch):
    put(here, weather())
    tables.ingest_table(here, "weather", END)
    folder = tables.table_path(here, "weather")
    first = read_json(folder / "profile.json")

    def broken(*given, **named):
        raise ArithmeticError("a column of nothing")

    put(here, weather(hours=80))
    with monkeypatch.context() as patched:
        patched.setattr(ingest, "profile_table", broken)
        held, changed = tables.ingest_table(here, "weather", END)
        assert changed and held.rows_out == 80 and tables.manifest(here, "weather") == held
        assert held.failures == [{"what": "profile of table weather", "why": "ArithmeticError: a column of nothing"}]
        assert held_profile(here, "weather") is None  # the profile there was is of other rows
        assert read_json(folder / "profile.previous.json") == first
    held, changed = tables.ingest_table(here, "weather", END)
    assert not changed and held.failures == [] and read_json(folder / "profile.json")["rows"] == 80
    assert read_json(folder / "profile.previous.json") == first
