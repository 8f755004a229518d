"""What is online is what was known at the moment, whatever happened before: late rows, corrections, kills, losses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.settings import Settings
from feature_repo import transforms
from feature_repo.definitions.feature_store import materialize
from feature_repo.materialization import online_write
from feature_repo.materialization import online_write as bringing
from feature_repo.materialization.backfill import compute
from feature_repo.materialization.online_write import FeatureError, materialize_view, write_online
from feature_repo.materialization.view_files import MissingDataError, ViewState, remember, state, view_files
from feature_repo.online import open_values
from feature_repo.online.codec import decode
from feature_repo.online.layout import layouts
from feature_repo.transforms.rolling import TransformError
from tests.feature_repo.raw_tables import FLIGHT_VIEWS, change, put, raw, small_settings

POSTGRES = os.environ.get("HEADRACE_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432")
REDIS = os.environ.get("HEADRACE_TEST_REDIS", "127.0.0.1:6379")

#: One with windows, one of two keys, one that describes a time before it is known.
SOME_VIEWS = ["plane_stats", "route_stats", "weather"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def offline(here: Settings, view: str, until: datetime) -> pd.DataFrame:
    """By brute force: of each entity the latest row of which both times are up to ``until``."""
    layout = layouts(here)[view]
    frame = pd.concat(
        [pq.ParquetFile(path).read().to_pandas() for path in view_files(here.home / "features", view)]
    ).dropna(subset=list(layout.join_keys))
    known = frame[(frame["event_timestamp"] <= until) & (frame["known_at"] <= until)]
    latest = known.sort_values(["event_timestamp", "known_at"]).groupby(list(layout.join_keys)).tail(1)
    return latest.sort_values(list(layout.join_keys))[[*layout.join_keys, *layout.names]].reset_index(drop=True)


def online(here: Settings, view: str, everybody: set[tuple[str, ...]]) -> pd.DataFrame:
    """What the store holds of ``everybody``; fails when it holds more entities than these."""
    layout = layouts(here)[view]
    keys = sorted(everybody)
    with closing(open_values(here)) as values:
        found = values.read([layout], [keys])[0]
        number = values.count(layout)
    there = [(key, value) for key, value in zip(keys, found, strict=True) if value is not None]
    assert number == len(there)
    decoded = decode(layout, [value for _, value in there], {})
    frame = pd.DataFrame([key for key, _ in there], columns=list(layout.join_keys))
    return frame.assign(**{name: decoded[name].to_pandas() for name in layout.names})


def everybody(here: Settings, view: str, frames: list[dict[str, pd.DataFrame]]) -> set[tuple[str, ...]]:
    keys = list(layouts(here)[view].join_keys)
    tables = [frame[transforms.VIEWS[view].tables[0]] for frame in frames]
    return {tuple(row) for table in tables for row in table[keys].dropna().itertuples(index=False)}


def agree(here: Settings, view: str, until: datetime, frames: list[dict[str, pd.DataFrame]]) -> None:
    pd.testing.assert_frame_equal(
        online(here, view, everybody(here, view, frames)), offline(here, view, until), check_dtype=False
    )


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["correct", "remove", "move", "time", "hold"]), st.integers(0, 10_000)),
        min_size=2,
        max_size=4,
    )
)
def test_after_any_history_online_is_what_was_known(tmp_path_factory, steps):
    """``hold`` delivers rows after the moment at which they say they were known."""
    here = small_settings(tmp_path_factory.mktemp("online") / "home")
    frames, until = [raw()], at("2013-02-01")
    held = pd.Series(False, index=raw()["outcomes"].index)
    put(here, raw())
    for view in SOME_VIEWS:
        materialize_view(here, view, until)
    for kind, seed in steps:
        if kind == "time":
            until += timedelta(days=9, hours=5, minutes=seed % 60)
        elif kind == "hold":
            held = pd.Series(False, index=frames[-1]["outcomes"].index)
            held[held.sample(frac=0.2, random_state=seed).index] = True
            put(here, {"outcomes": frames[-1]["outcomes"][~held]})
            for view in SOME_VIEWS:
                materialize_view(here, view, until)
                agree(here, view, until, frames)
        frames.append(change(frames[-1], kind, seed))
        put(here, frames[-1])
        for view in SOME_VIEWS:
            materialize_view(here, view, until)
            agree(here, view, until, frames)


@pytest.fixture(params=["local", "production"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    variables = {"environment": request.param}
    if request.param == "production":
        import redis

        try:
            redis.Redis.from_url(f"redis://{REDIS}").ping()
        except redis.exceptions.ConnectionError:
            if os.environ.get("CI"):
                raise
            pytest.skip("no Redis at HEADRACE_TEST_REDIS")
        variables |= {
            "HEADRACE_POSTGRES_URL": POSTGRES,
            "HEADRACE_REDIS": REDIS,
            "HEADRACE_DATABASE_PREFIX": f"headrace_test_{uuid.uuid4().hex[:8]}",
        }
    found = small_settings(tmp_path / "home", **variables)
    put(found, raw())
    yield found
    with closing(open_values(found)) as values:
        for layout in layouts(found).values():
            values.clear(layout)
        if request.param == "production":
            client = redis.Redis.from_url(f"redis://{REDIS}")
            left = list(client.scan_iter(f"*{variables['HEADRACE_DATABASE_PREFIX']}*"))
            if left:
                client.delete(*left)


@pytest.fixture
def local(tmp_path: Path) -> Settings:
    found = small_settings(tmp_path / "home")
    put(found, raw())
    return found


def test_each_entitys_value_as_known_then(here):
    for view in [*FLIGHT_VIEWS, "plane_attributes"]:
        assert materialize_view(here, view, at("2013-03-01 12:34")).materialized
        agree(here, view, at("2013-03-01 12:34"), [raw()])
        with closing(open_values(here)) as values:
            layout = layouts(here)[view]
            assert values.known_until([layout]) == {view: at("2013-03-01 12:34")}
        assert not materialize(here, view, at("2013-03-01 12:34"))


def test_an_earlier_moment_changes_nothing(here):
    materialize_view(here, "plane_stats", at("2013-03-01"))
    assert not materialize(here, "plane_stats", at("2013-02-01"))
    agree(here, "plane_stats", at("2013-03-01"), [raw()])


def test_what_changed_arrives_as_known_at_the_later_moment(here):
    materialize_view(here, "plane_stats", at("2013-03-01"))
    changed = change(raw(), "remove", 3)
    put(here, changed)
    assert materialize_view(here, "plane_stats", at("2013-02-01")).materialized
    agree(here, "plane_stats", at("2013-03-01"), [raw(), changed])
    assert state(here, "plane_stats").online_until == at("2013-03-01").isoformat()


def test_a_store_that_was_emptied_is_filled_again(here):
    materialize_view(here, "route_stats", at("2013-03-01"))
    layout = layouts(here)["route_stats"]
    with closing(open_values(here)) as values:
        assert values.clear(layout) > 0
    assert materialize(here, "route_stats", at("2013-03-01"))
    agree(here, "route_stats", at("2013-03-01"), [raw()])


def test_a_store_that_went_back_in_time_is_filled_again(here):
    """As one restored from a backup."""
    layout = layouts(here)["route_stats"]
    materialize_view(here, "route_stats", at("2013-03-01"))
    with closing(open_values(here)) as values:
        values.clear(layout)
        values.set_known_until(layout, at("2013-02-01"))
    assert materialize(here, "route_stats", at("2013-03-01 01:00"))
    agree(here, "route_stats", at("2013-03-01 01:00"), [raw()])


def test_since_brings_lost_values_again(here):
    until = at("2013-03-01")
    materialize_view(here, "carrier_stats", until)
    layout = layouts(here)["carrier_stats"]
    rows = offline(here, "carrier_stats", until)
    with closing(open_values(here)) as values:
        values.delete(layout, [(carrier,) for carrier in rows["carrier"]])
        assert values.count(layout) == 0
    assert not materialize(here, "carrier_stats", until)
    assert materialize(here, "carrier_stats", until, since=until - timedelta(hours=2))
    with closing(open_values(here)) as values:
        assert 0 < values.count(layout) < len(rows)
    assert materialize(here, "carrier_stats", until, since=at("1970-01-01"))
    agree(here, "carrier_stats", until, [raw()])


def test_another_query_brings_everything_again(here, monkeypatch):
    materialize_view(here, "plane_stats", at("2013-03-01"))
    query = transforms.VIEWS["plane_stats"]
    monkeypatch.setitem(
        transforms.VIEWS,
        "plane_stats",
        query._replace(
            sql=f"SELECT * REPLACE (plane_flights_7d + 1000 AS plane_flights_7d) FROM ({query.sql}) "
            "WHERE event_timestamp < TIMESTAMPTZ '2013-02-20 00:00:00+00'"
        ),
    )
    materialize_view(here, "plane_stats", at("2013-03-02"))
    agree(here, "plane_stats", at("2013-03-02"), [raw()])
    assert offline(here, "plane_stats", at("2013-03-02"))["plane_flights_7d"].min() > 1000


def test_other_join_keys_leave_nothing_under_the_old_ones(here, monkeypatch):
    materialize_view(here, "route_stats", at("2013-03-01"))
    layout = layouts(here)["route_stats"]
    other = replace(layout, join_keys=("dest",))
    sql = transforms.VIEWS["route_stats"].sql
    values = ", ".join(f"any_value({name}) AS {name}" for name in other.names)
    query = transforms.VIEWS["route_stats"]._replace(
        sql=f"SELECT dest, event_timestamp, known_at, {values} FROM ({sql}) GROUP BY ALL"
    )
    monkeypatch.setitem(transforms.VIEWS, "route_stats", query)
    monkeypatch.setattr(bringing, "layouts", lambda _: {"route_stats": other})
    materialize_view(here, "route_stats", at("2013-03-01"))
    known = raw()["outcomes"][raw()["outcomes"]["known_at"] <= at("2013-03-01")]
    with closing(open_values(here)) as values:
        assert values.count(other) == known["dest"].nunique()
        assert values.known_until([other]) == {"route_stats": at("2013-03-01")}


def test_killed_then_another_feature(local, monkeypatch):
    """What was left lacks a feature that the view has by now: it is chosen again."""
    many_planes(local)
    killed(local, at("2013-03-01"), 3)
    layout = layouts(local)["plane_stats"]
    held = state(local, "plane_stats")
    for file in held.files.values():
        path = local.home / "features" / "plane_stats" / file
        table = pq.ParquetFile(path).read()
        pq.write_table(table.append_column("plane_new", table["plane_delay_7d"]), path)
    remember(local, replace(held, code="other"))
    other = replace(layout, features=(*layout.features, ("plane_new", "number")))
    monkeypatch.setattr(bringing, "layouts", lambda _: {"plane_stats": other})
    assert write_online(local, "plane_stats", at("2013-03-01"))
    with closing(open_values(local)) as values:
        found = values.read([other], [[(f"N{plane:06d}",) for plane in range(20_000)]])[0]
    assert decode(other, found, {})["plane_new"].to_pylist() == [7.0 + plane for plane in range(20_000)]


def test_only_what_changed_is_brought(local, monkeypatch):
    materialize_view(local, "plane_stats", at("2013-03-01"))
    brought = []
    write = bringing._write

    def counted(settings, layout, values, held, bringing):
        brought.append(pq.read_metadata(settings.home / "features" / layout.view / ".fresh.parquet").num_rows)
        return write(settings, layout, values, held, bringing)

    monkeypatch.setattr(bringing, "_write", counted)
    outcomes = raw()["outcomes"]
    write_online(local, "plane_stats", at("2013-03-01 06:00"))
    due = outcomes["known_at"].between(at("2013-03-01 00:00:00.000001"), at("2013-03-01 06:00"))
    assert brought == [outcomes[due]["tailnum"].nunique()]
    mine = outcomes[outcomes["known_at"] <= at("2013-03-01")]
    late = mine["arr_delay"].notna() & (mine["known_at"] > at("2013-02-27"))
    plane = mine[late]["tailnum"].iloc[-1]
    row = mine[late & (mine["tailnum"] == plane)].index[-1]
    put(local, {"outcomes": outcomes.assign(arr_delay=outcomes["arr_delay"].where(outcomes.index != row, 77.0))})
    materialize_view(local, "plane_stats", at("2013-03-01 06:00"))
    assert brought[1] == 1
    agree(local, "plane_stats", at("2013-03-01 06:00"), [raw()])


def test_a_plane_that_never_flew_goes(here):
    """A correction that takes an entity's only row away takes its value away."""
    materialize_view(here, "plane_stats", at("2013-03-01"))
    outcomes = raw()["outcomes"]
    counts = outcomes[outcomes["known_at"] <= at("2013-03-01")]["tailnum"].value_counts()
    lone, busy = counts.index[counts == counts.min()][0], counts.index[0]
    corrected = outcomes.assign(tailnum=outcomes["tailnum"].where(outcomes["tailnum"] != lone, busy))
    put(here, {"outcomes": corrected})
    materialize_view(here, "plane_stats", at("2013-03-01"))
    agree(here, "plane_stats", at("2013-03-01"), [raw()])
    with closing(open_values(here)) as values:
        assert values.read([layouts(here)["plane_stats"]], [[(lone,)]]) == [[None]]


PROGRAM = """
import os, sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from datetime import datetime
from configs.settings import load_settings
from feature_repo.materialization import online_write
from feature_repo.online import sqlite_values, redis_values
from feature_repo.materialization.online_write import write_online
online_write.GROUP = 2048
for store in (sqlite_values.SqliteValues, redis_values.RedisValues):
    def slowly(self, layout, rows, write=store.write):
        number = write(self, layout, rows)
        print("wrote", flush=True)
        time.sleep(0.05)
        return number
    store.write = slowly
settings = load_settings({environment!r}, {variables!r})
write_online(settings, "plane_stats", datetime.fromisoformat({until!r}))
"""


def killed(here: Settings, until: datetime, after: int) -> None:
    """Bring online in a process of its own, and kill it when ``after`` row groups were written."""
    databases = here.databases
    variables = {"HEADRACE_HOME": str(here.home), "HEADRACE_DATABASE_PREFIX": databases.prefix}
    if databases.redis and databases.postgres_url:
        variables |= {
            "HEADRACE_REDIS": databases.redis.get_secret_value(),
            "HEADRACE_POSTGRES_URL": databases.postgres_url.get_secret_value(),
        }
    program = PROGRAM.format(
        root=str(here.root), environment=here.environment, variables=variables, until=until.isoformat()
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(after):
        assert process.stdout.readline() == "wrote\n", "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()


def many_planes(here: Settings, number: int = 20_000) -> None:
    """A view of many entities with two rows each, put there as if computed."""
    folder = here.home / "features" / "plane_stats"
    files = {}
    for month, day in (("2013-01", 5), ("2013-02", 7)):
        moment = pd.Series(pd.Timestamp(f"{month}-{day:02d}", tz="UTC").as_unit("us"), index=range(number))
        frame = pd.DataFrame(
            {
                "tailnum": [f"N{plane:06d}" for plane in range(number)],
                "event_timestamp": moment,
                "known_at": moment,
                **{name: float(day) + pd.Series(range(number)) for name in layouts(here)["plane_stats"].names},
            }
        )
        (folder / f"month={month}").mkdir(parents=True)
        files[month] = f"month={month}/made.parquet"
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / files[month])
    remember(here, ViewState("plane_stats", 2 * number, "code", {}, files=files))


def same_as_made(here: Settings, until: datetime, number: int = 20_000) -> None:
    keys = {(f"N{plane:06d}",) for plane in range(number)}
    pd.testing.assert_frame_equal(online(here, "plane_stats", keys), offline(here, "plane_stats", until))


@pytest.mark.parametrize("after", [1, 3, 7])
def test_killed_then_the_same_again(here, after):
    many_planes(here)
    until = at("2013-03-01")
    killed(here, until, after)
    held = state(here, "plane_stats")
    assert held.online_until is None and held.bringing["done"] in (after - 1, after)
    with closing(open_values(here)) as values:
        written = values.count(layouts(here)["plane_stats"])
        assert after * 2000 < written < 20_000
    assert write_online(here, "plane_stats", until)
    same_as_made(here, until)
    assert state(here, "plane_stats").bringing is None
    assert not list((here.home / "features").rglob(".fresh*"))


def test_killed_then_a_later_moment(here, monkeypatch):
    """What was left is finished first, from where it was; then what became known since is brought."""
    many_planes(here)
    killed(here, at("2013-02-01"), 4)
    with closing(open_values(here)) as values:
        groups = []
        write = type(values).write
    monkeypatch.setattr(
        type(values), "write", lambda self, layout, rows: groups.append(rows.num_rows) or write(self, layout, rows)
    )
    assert write_online(here, "plane_stats", at("2013-03-01"))
    same_as_made(here, at("2013-03-01"))
    assert 20_000 < sum(groups) <= 20_000 + 20_000 - 3 * 2048


def test_killed_then_the_store_was_emptied(here):
    many_planes(here)
    killed(here, at("2013-03-01"), 4)
    with closing(open_values(here)) as values:
        values.clear(layouts(here)["plane_stats"])
    assert write_online(here, "plane_stats", at("2013-03-01"))
    same_as_made(here, at("2013-03-01"))


def test_killed_while_the_rows_are_chosen(local):
    many_planes(local, 200_000)
    folder = local.home / "features" / "plane_stats"
    program = PROGRAM.format(
        root=str(local.root),
        environment="local",
        variables={"HEADRACE_HOME": str(local.home)},
        until="2013-03-01T00:00Z",
    )
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
        while process.poll() is None and not list(folder.glob(".*.tmp")):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert write_online(local, "plane_stats", at("2013-03-01"))
    same_as_made(local, at("2013-03-01"), 200_000)
    assert not list(folder.rglob("*.tmp"))


def test_what_cannot_be_brought(local, monkeypatch):
    with pytest.raises(MissingDataError, match="'weather' was never computed; run `headrace run materialize`"):
        write_online(local, "weather", at("2013-03-01"))
    query = transforms.VIEWS["weather"]
    monkeypatch.setitem(transforms.VIEWS, "weather", query._replace(sql=f"SELECT * EXCLUDE (visib) FROM ({query.sql})"))
    compute(local, "weather")
    with pytest.raises(FeatureError, match=r"feature 'visib' in .*features\.py, but its query .* returns only origin"):
        write_online(local, "weather", at("2013-03-01"))
    assert state(local, "weather").online_until is None


def test_a_query_with_a_column_named_like_its_age_is_refused(local, monkeypatch):
    query = transforms.VIEWS["weather"]
    monkeypatch.setitem(
        transforms.VIEWS, "weather", query._replace(sql=f"SELECT *, 1.0 AS weather_age_hours FROM ({query.sql})")
    )
    with pytest.raises(TransformError, match="'weather' returns a column 'weather_age_hours', the name of the age"):
        compute(local, "weather")


def test_feast_is_not_imported(local):
    layouts(local)
    program = (
        f"import sys; sys.path.insert(0, {str(local.root)!r})\n"
        "from pathlib import Path\nfrom datetime import datetime\n"
        "from tests.feature_repo.raw_tables import small_settings\n"
        "from feature_repo.definitions.feature_store import materialize\n"
        "from feature_repo.materialization.backfill import compute\n"
        f"here = small_settings(Path({str(local.home)!r}))\n"
        "compute(here, 'weather'); materialize(here, 'weather', datetime.fromisoformat('2013-03-01T00:00Z'))\n"
        "assert 'feast' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    agree(local, "weather", at("2013-03-01"), [raw()])


def test_row_groups_are_those_of_the_setting():
    assert online_write.GROUP == 100_000
