"""Views computed month by month, again and again as days change, equal the same views computed from nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.settings import Settings
from feature_repo import tables, transforms
from feature_repo.materialization.backfill import compute
from feature_repo.materialization.view_files import MissingDataError, ViewState, remember, state, view_files
from feature_repo.transforms.rolling import Query, longest, rolling
from tests.feature_repo.raw_tables import FLIGHT_VIEWS, change, put, raw, small_settings


def rows(settings: Settings, view: str) -> pd.DataFrame:
    return pd.concat([pq.ParquetFile(path).read().to_pandas() for path in files(settings, view)], ignore_index=True)


def files(settings: Settings, view: str) -> list[Path]:
    return view_files(settings.home / "features", view)


def cut(frames: dict[str, pd.DataFrame], moment: str) -> dict[str, pd.DataFrame]:
    at = pd.Timestamp(moment, tz="UTC")
    return {name: frame[frame["known_at"] <= at] if "known_at" in frame else frame for name, frame in frames.items()}


def from_nothing(here: Settings, view: str) -> pd.DataFrame:
    """The view computed by a home that has the same tables and never computed anything."""
    home = here.home.with_name("fresh")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    (home / "tables").symlink_to(here.home / "tables")
    fresh = here.model_copy(update={"home": home})
    compute(fresh, view)
    assert [path.name for path in files(fresh, view)] == [path.name for path in files(here, view)]
    return rows(fresh, view)


def in_one_piece(here: Settings, view: str) -> pd.DataFrame:
    """What the query gives over everything at once."""
    with tables.connect(here) as connection:
        whole = transforms.compute(connection, view)
    keys = list(whole.columns[: list(whole.columns).index("event_timestamp")])
    return whole.sort_values(["event_timestamp", *keys], ignore_index=True)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["correct", "remove", "move", "time"]), st.integers(0, 10_000)),
        min_size=1,
        max_size=3,
    )
)
def test_whatever_happens_to_the_tables_the_result_is_that_of_computing_from_nothing(tmp_path_factory, steps):
    here = small_settings(tmp_path_factory.mktemp("views") / "home")
    moments = iter(["2013-02-03 07:10", "2013-02-28 23:59", "2013-03-01 00:00", "2013-03-30 11:00"])
    all_rows, moment = raw(), next(moments)
    put(here, cut(all_rows, moment))
    for view in ("weather", "origin_stats", "route_stats", "plane_stats"):
        compute(here, view)
    for kind, seed in steps:
        if kind == "time":
            moment = next(moments)
        all_rows = change(all_rows, kind, seed)
        put(here, cut(all_rows, moment))
        for view in ("weather", "origin_stats", "route_stats", "plane_stats"):
            compute(here, view)
            found = rows(here, view)
            pd.testing.assert_frame_equal(found, from_nothing(here, view), check_exact=True)
            pd.testing.assert_frame_equal(found, in_one_piece(here, view), check_exact=True)


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    found = small_settings(tmp_path / "home")
    put(found, raw())
    return found


def test_only_months_that_look_at_a_changed_day_are_computed_again(here):
    for view in ("weather", "route_stats"):
        compute(here, view)
    before = {view: files(here, view) for view in ("weather", "route_stats")}
    changed = raw()
    outcomes, weather = changed["outcomes"].copy(), changed["weather"].copy()
    outcomes.loc[outcomes["known_at"].dt.strftime("%m-%d") == "03-07", "arr_delay"] = 5.0
    outcomes["cancelled"] &= outcomes["arr_delay"].isna()
    outcomes["diverted"] &= outcomes["arr_delay"].isna()
    weather.loc[weather["observed_at"].dt.strftime("%m-%d") == "02-28", "temp"] = 5.0
    put(here, {"outcomes": outcomes, "weather": weather})
    for view, kept in (("weather", [True, False, False]), ("route_stats", [True, True, False])):
        _, computed = compute(here, view)
        after = files(here, view)
        assert computed
        assert [old == new for old, new in zip(before[view], after, strict=True)] == kept, view
        assert all(path.exists() for path in before[view])  # for those who still read them
    assert rows(here, "weather")["temp"].eq(5.0).sum() >= 72


def test_a_february_late_row_changes_the_months_that_its_windows_reach(here):
    compute(here, "route_stats")
    before = files(here, "route_stats")
    changed = raw()["outcomes"].iloc[:-1]
    put(here, {"outcomes": changed[changed["known_at"].dt.strftime("%m-%d") != "02-10"]})
    compute(here, "route_stats")  # 28 days before some of March, not before January
    assert [old == new for old, new in zip(before, files(here, "route_stats"), strict=True)] == [True, False, False]


def test_nothing_changed_nothing_computed(here):
    first, computed = compute(here, "carrier_stats")
    times = [path.stat().st_mtime_ns for path in files(here, "carrier_stats")]
    assert computed and first.rows == len(rows(here, "carrier_stats"))
    assert compute(here, "carrier_stats") == (first, False)
    assert [path.stat().st_mtime_ns for path in files(here, "carrier_stats")] == times
    latest = rows(here, "carrier_stats")["event_timestamp"].max()
    assert pd.Timestamp(first.latest_event) == latest


def test_another_query_computes_everything_again(here, monkeypatch):
    compute(here, "weather")
    before = files(here, "weather")
    query = transforms.VIEWS["weather"]
    monkeypatch.setitem(
        transforms.VIEWS, "weather", query._replace(sql=query.sql.replace("visib,", "visib + 1 AS visib,"))
    )
    compute(here, "weather")
    after = files(here, "weather")
    assert len(after) == len(before) and not set(after) & set(before)
    assert rows(here, "weather")["visib"].max() == 11


def test_a_view_without_time_is_one_file(here):
    found, _ = compute(here, "plane_attributes")
    (path,) = files(here, "plane_attributes")
    assert path.parent == here.home / "features" / "plane_attributes"
    assert found.rows == 3322 and found.files == {"all": path.name}


def test_a_file_that_was_lost_is_computed_again(here):
    compute(here, "weather")
    whole = rows(here, "weather")
    files(here, "weather")[1].unlink()
    _, computed = compute(here, "weather")
    assert computed
    pd.testing.assert_frame_equal(rows(here, "weather"), whole)


def test_what_nobody_names_is_swept(here):
    compute(here, "weather")
    first = files(here, "weather")
    folder = here.home / "features" / "weather"
    for number in range(2):
        changed = raw()["weather"].assign(temp=float(number))
        put(here, {"weather": changed})
        left = folder / "month=2013-01" / f".left.parquet.{number}.tmp"
        left.write_bytes(b"killed")
        compute(here, "weather")
        assert not left.exists()
        assert all(path.exists() for path in files(here, "weather"))
    assert not any(path.exists() for path in first)
    assert len(list(folder.rglob("*.parquet"))) == 6  # now and before


def test_a_view_that_spills_is_the_same(here, tmp_path):
    compute(here, "route_stats")
    other = here.model_copy(
        update={
            "home": tmp_path / "other",
            "features": here.features.model_copy(update={"memory_limit": "60MB"}),
        }
    )
    other.home.mkdir()
    (other.home / "tables").symlink_to(here.home / "tables")
    compute(other, "route_stats")
    pd.testing.assert_frame_equal(rows(other, "route_stats"), rows(here, "route_stats"), check_exact=True)


def test_a_table_that_was_never_ingested(tmp_path):
    with pytest.raises(MissingDataError, match="needs table 'weather', which has no rows yet; run `headrace run"):
        compute(small_settings(tmp_path / "home"), "weather")


def test_killed_while_computing_then_again(here):
    program = (
        f"import sys; sys.path.insert(0, {str(here.root)!r})\n"
        "from pathlib import Path\n"
        "from feature_repo.materialization.backfill import compute\n"
        "from tests.feature_repo.raw_tables import small_settings\n"
        f"compute(small_settings(Path({str(here.home)!r})), 'route_stats')\n"
    )
    folder = here.home / "features" / "route_stats"
    for months in (1, 2):
        process = subprocess.Popen([sys.executable, "-c", program])
        while process.poll() is None and len(list(folder.glob("month=*/*.parquet"))) < months:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = {path: path.stat().st_mtime_ns for path in folder.glob("month=*/*.parquet")}
    compute(here, "route_stats")
    assert {path: path.stat().st_mtime_ns for path in done} == done
    pd.testing.assert_frame_equal(rows(here, "route_stats"), from_nothing(here, "route_stats"), check_exact=True)
    assert not list(folder.rglob("*.tmp"))


def test_files_of_a_view_without_a_record(tmp_path):
    assert view_files(tmp_path, "weather") == []
    (tmp_path / "weather.parquet").touch()
    assert view_files(tmp_path, "weather") == [tmp_path / "weather.parquet"]


def test_a_record_of_before_there_were_months(here):
    remember(here, ViewState("weather", 3, "code", {"weather": "x"}, "code", "2013-01-01T00:00:00+00:00"))
    _, computed = compute(here, "weather")
    held = state(here, "weather")
    assert computed and len(held.files) == 3
    assert replace(held, files={}).online_until == "2013-01-01T00:00:00+00:00"


def test_a_day_table_beside_a_table_without_days(here, monkeypatch):
    """A table without a day is seen whole by every month; when it changes, so do all."""
    sql = (
        "SELECT tailnum, o.known_at AS event_timestamp, o.known_at, any_value(p.seats)::DOUBLE AS seats "
        "FROM outcomes o LEFT JOIN planes p USING (tailnum) WHERE tailnum IS NOT NULL GROUP BY ALL"
    )
    lookback = longest({"a": ("count(*)", "1 HOUR")})
    monkeypatch.setitem(transforms.VIEWS, "plane_stats", Query(("outcomes", "planes"), sql, lookback))
    compute(here, "plane_stats")
    before = files(here, "plane_stats")
    pd.testing.assert_frame_equal(rows(here, "plane_stats"), in_one_piece(here, "plane_stats"))
    put(here, {"planes": raw()["planes"].iloc[5:]})
    compute(here, "plane_stats")
    assert len(before) == 3 and not set(files(here, "plane_stats")) & set(before)


def test_a_month_of_which_one_table_has_no_day(here, monkeypatch):
    sql = (
        "SELECT origin, o.known_at AS event_timestamp, o.known_at, count(w.temp) AS hours FROM outcomes o "
        "LEFT JOIN weather w USING (origin) WHERE w.observed_at IS NULL OR w.observed_at BETWEEN o.known_at - "
        "INTERVAL 5 HOURS AND o.known_at GROUP BY ALL"
    )
    put(here, {"weather": raw()["weather"][raw()["weather"]["observed_at"] >= "2013-03-01"]})
    monkeypatch.setitem(
        transforms.VIEWS, "weather", transforms.VIEWS["weather"]._replace(tables=("outcomes", "weather"), sql=sql)
    )
    compute(here, "weather")
    found = rows(here, "weather")
    assert len(files(here, "weather")) == 3
    assert found[found["event_timestamp"] < "2013-03-01"]["hours"].max() == 0
    assert found[found["event_timestamp"] > "2013-03-02"]["hours"].min() >= 4


@pytest.mark.parametrize("length", ["7 FORTNIGHTS", "week", "1.5 DAYS", "-1 DAY"])
def test_a_length_that_cannot_be_read(length):
    with pytest.raises(ValueError, match="cannot be read; write a whole number and SECONDS"):
        rolling("outcomes", "carrier", {"late": ("avg(late)", length)}, "flight_id")


def test_the_example_says_how_far_it_looks_back():
    days = {view: query.lookback.days if query.lookback else None for view, query in transforms.VIEWS.items()}
    assert [days[view] for view in FLIGHT_VIEWS] == [0, 28, 7, 28, 28]
    assert transforms.VIEWS["weather"].lookback.total_seconds() == 5 * 3600
    assert os.sep not in "".join(days)
