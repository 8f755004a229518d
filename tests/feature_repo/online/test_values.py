"""The rules of the online store, the same on SQLite and on Redis."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.online.codec import codec, decode
from feature_repo.online.entity_keys import encode_key
from feature_repo.online.layout import ViewLayout
from feature_repo.online.redis_values import RedisValues, redis_address
from feature_repo.online.sqlite_values import SqliteValues
from feature_repo.online.values import OnlineError
from tests.feature_repo.online.services import REDIS, redis_values, sqlite_path

START = datetime(2024, 1, 1, tzinfo=UTC)
ONE = ViewLayout("p", "one", ("key",), (("a", "number"),), 0.0)
TWO = ViewLayout("p", "two", ("dest", "origin"), (("a", "number"), ("b", "string")), 0.0)


@pytest.fixture(params=["sqlite", "redis"])
def values(request, tmp_path):
    if request.param == "sqlite":
        yield SqliteValues(sqlite_path(tmp_path))
    else:
        with redis_values() as found:
            yield found


def moment(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def rows(*given_rows) -> pa.Table:
    """(key, event minute, known minute, a)"""
    keys, events, known, values = zip(*given_rows, strict=True) if given_rows else ((), (), (), ())
    when = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "key": pa.array(keys, pa.string()),
            "event_timestamp": pa.array([moment(each) for each in events], when),
            "known_at": pa.array([moment(each) for each in known], when),
            "a": pa.array(values, pa.float64()),
        }
    )


def held(values, *keys) -> list[float | None]:
    found = values.read([ONE], [[(key,) for key in keys]])[0]
    return decode(ONE, found)["a"].to_pylist()


def test_older_never_overwrites_newer(values):
    assert values.write(ONE, rows(("x", 10, 12, 1.0))) == 1
    assert values.write(ONE, rows(("x", 9, 99, 2.0), ("y", 0, 0, 3.0))) == 1  # x is of an earlier event
    assert held(values, "x", "y", "z") == [1.0, 3.0, None]
    assert values.write(ONE, rows(("x", 10, 11, 4.0))) == 0  # of the same event, known earlier
    assert values.write(ONE, rows(("x", 10, 13, 5.0))) == 1  # a correction
    assert held(values, "x") == [5.0]
    assert values.write(ONE, rows(("x", 10, 13, 6.0))) == 1  # the same again: the last counts
    assert held(values, "x") == [6.0]
    assert values.write(ONE, rows(("x", 11, 11, 7.0))) == 1
    assert held(values, "x") == [7.0]
    assert values.count(ONE) == 2


def test_before_1970_and_after(values):
    early = rows(("x", 0, 0, 1.0)).set_column(
        1, "event_timestamp", pa.array([datetime(1960, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    )
    assert values.write(ONE, rows(("x", 0, 0, 2.0))) == 1
    assert values.write(ONE, early) == 0
    assert held(values, "x") == [2.0]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.integers(0, 4)), max_size=6), max_size=4
    )
)
def test_whatever_the_order_of_writing_the_latest_stays(values, batches):
    values.clear(ONE)
    best: dict[str, tuple] = {}
    for number, batch in enumerate(batches):
        table = rows(*((key, event, known, number * 10.0 + place) for place, (key, event, known) in enumerate(batch)))
        values.write(ONE, table)
        for place, (key, event, known) in enumerate(batch):
            best[key] = max(best.get(key, (-1, -1, 0)), (event, known, number * 10.0 + place))
    assert held(values, *"abc") == [best[key][2] if key in best else None for key in "abc"]
    assert values.count(ONE) == len(best)


def test_more_rows_than_one_call_takes(values):
    many = rows(*((f"k{place}", 0, 0, float(place)) for place in range(25_500)))
    assert values.write(ONE, many) == 25_500
    assert values.count(ONE) == 25_500
    found = values.look_up([ONE], [[encode_key((f"k{place}",)) for place in range(40_000)]]).values[0]
    assert decode(ONE, found[:25_500])["a"].to_pylist() == [float(place) for place in range(25_500)]
    assert found[25_500:] == [None] * 14_500
    assert values.delete(ONE, [(f"k{place}",) for place in range(25_400, 25_600)]) == 100
    assert values.count(ONE) == 25_400


def test_several_views_in_one_look_and_how_far_each_came(values):
    assert values.known_until([ONE, TWO]) == {"one": None, "two": None}
    values.write(ONE, rows(("x", 1, 1, 1.0)))
    values.set_known_until(ONE, moment(5))
    found = values.look_up([ONE, TWO], [[b"x", b"nobody"], [b"LAX|EWR"]])
    assert [[value is not None for value in view] for view in found.values] == [[True, False], [False]]
    assert found.known_until == [moment(5), None]
    values.set_known_until(ONE, datetime(2013, 1, 1, 0, 0, 0, 123456))  # naive: UTC
    assert values.known_until([ONE]) == {"one": datetime(2013, 1, 1, 0, 0, 0, 123456, UTC)}
    assert values.count(ONE) == 1


ROUTES = [
    ("LAX", "EWR"),
    ("LAX", "JFK"),
    ("LA", "EWR"),
    ("EWR", "LAX"),
    ("*", "EWR"),
    ("LAX", "%|"),
    ("[L]AX", "EWR"),
    ("", "EWR"),
]


def test_entities_are_found_by_one_of_their_join_keys_and_removed(values):
    table = rows(*((dest, 0, 0, 1.0) for dest, _ in ROUTES)).rename_columns(
        ["dest", "event_timestamp", "known_at", "a"]
    )
    table = table.append_column("origin", pa.array([origin for _, origin in ROUTES])).append_column(
        "b", pa.array(["t"] * 8)
    )
    assert values.write(TWO, table) == len(ROUTES)
    for key, place in (("dest", 0), ("origin", 1)):
        for value in {route[place] for route in ROUTES}:
            expected = sorted(route for route in ROUTES if route[place] == value)
            assert sorted(values.matching(TWO, key, value)) == expected, (key, value)
    assert values.matching(TWO, "dest", "nowhere") == values.matching(TWO, "dest", None) == []
    assert values.delete(TWO, [("LAX", "JFK"), ("LAX", "JFK"), ("none", "none"), ("LAX", None)]) == 1
    assert values.matching(TWO, "origin", "JFK") == []
    assert values.clear(TWO) == len(ROUTES) - 1
    assert values.clear(TWO) == values.count(TWO) == 0


def test_matching_a_view_with_one_join_key(values):
    values.write(ONE, rows(("x", 0, 0, 1.0), ("", 0, 0, 2.0)))
    assert values.matching(ONE, "key", "x") == [("x",)]
    assert values.matching(ONE, "key", "") == [("",)]
    assert values.matching(ONE, "key", "y") == []
    assert values.count(ONE) == 2


def test_rows_without_a_join_key_are_left_out_and_a_view_may_have_none(values):
    assert values.write(ONE, rows((None, 0, 0, 1.0), ("x", 0, 0, 2.0))) == 1
    everywhere = ViewLayout("p", "everywhere", (), ONE.features, 0.0)
    assert values.write(everywhere, rows(("ignored", 0, 0, 3.0))) == 1
    assert decode(everywhere, values.read([everywhere], [[()]])[0])["a"].to_pylist() == [3.0]
    assert values.write(ONE, rows()) == 0


def test_projects_and_views_do_not_mix(values):
    other = ViewLayout("q", "one", ("key",), (("a", "number"),), 0.0)
    values.write(ONE, rows(("x", 0, 0, 1.0)))
    values.write(other, rows(("x", 0, 0, 2.0)))
    values.clear(other)
    assert held(values, "x") == [1.0]


def test_a_value_outlives_a_change_of_the_layout_by_name_and_kind(values):
    wider = ViewLayout("p", "one", ("key",), (("new", "string"), ("a", "number")), 0.0)
    values.write(ONE, rows(("x", 0, 0, 1.0)))
    values.write(wider, rows(("y", 0, 0, 2.0)).append_column("new", pa.array(["text"])))
    assert values.written_layouts(ONE) == {codec(each.features).id: each.features for each in (ONE, wider)}
    found = values.read([wider], [[("x",), ("y",)]])[0]
    table = decode(wider, found, values.written_layouts(wider))
    assert table.select(["new", "a"]).to_pylist() == [{"new": None, "a": 1.0}, {"new": "text", "a": 2.0}]
    values.write(wider, rows(("x", 0, 0, 1.0)).append_column("new", pa.array(["came"])))  # the same times: it arrives
    assert decode(wider, values.read([wider], [[("x",)]])[0])["new"].to_pylist() == ["came"]


def test_threads_write_and_read_at_once(values):
    stop, seen, failures = threading.Event(), [], []

    def reads():
        try:
            while not stop.is_set():
                seen.append(held(values, "x")[0])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=reads) for _ in range(3)]
    for thread in threads:
        thread.start()
    for minute in range(60):
        values.write(ONE, rows(("x", minute, 0, float(minute))))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert held(values, "x") == [59.0]
    assert len([value for value in seen if value is not None]) > 10


def write_many(path, writer: int) -> None:
    values = SqliteValues(path)
    for minute in range(40):
        values.write(ONE, rows(*((f"k{place}", minute, writer, float(minute * 10 + writer)) for place in range(50))))


def test_processes_write_one_file_at_once(tmp_path):
    path = sqlite_path(tmp_path)
    spawned = multiprocessing.get_context("spawn")
    writers = [spawned.Process(target=write_many, args=(path, writer)) for writer in range(3)]
    for writer in writers:
        writer.start()
    values = SqliteValues(path)
    while any(writer.is_alive() for writer in writers):
        held(values, "k0", "k49")
        time.sleep(0.01)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert held(values, *(f"k{place}" for place in range(50))) == [392.0] * 50


def test_a_failed_batch_leaves_nothing(tmp_path):
    values = SqliteValues(sqlite_path(tmp_path))
    values.write(ONE, rows(("x", 0, 0, 1.0)))
    with pytest.raises(ZeroDivisionError), values._transaction(ONE) as connection:
        connection.execute('DELETE FROM "p.one"')
        raise ZeroDivisionError
    assert held(values, "x") == [1.0]
    values.close()
    assert held(values, "x") == [1.0]


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "online.db"
    path.write_text("no database at all, but long enough to be read as the header of one" * 20)
    with pytest.raises(OnlineError, match=r"online\.db failed: file is not a database; repair or remove the file\."):
        SqliteValues(path).count(ONE)


def test_redis_that_forgot_the_script_and_its_memory():
    with redis_values() as values:
        values.write(ONE, rows(("x", 0, 0, 1.0)))
        values._client.script_flush()
        assert values.write(ONE, rows(("x", 1, 0, 2.0))) == 1
        assert held(values, "x") == [2.0]
        assert 50 < values.memory(ONE) < 2000


def test_two_namespaces_share_a_database():
    with redis_values() as left, redis_values() as right:
        left.write(ONE, rows(("x", 0, 0, 1.0)))
        assert held(right, "x") == [None]
        assert right.clear(ONE) == 0
        assert held(left, "x") == [1.0]


def test_a_cut_connection_is_made_anew():
    with redis_values() as values:
        values.write(ONE, rows(("x", 0, 0, 1.0)))
        values._client.client_kill_filter(_id=values._client.client_id())
        assert held(values, "x") == [1.0]


def test_redis_out_of_reach_is_said_in_a_sentence_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    started = time.monotonic()
    for call in (
        lambda values: values.look_up([ONE], [[b"x"]]),
        lambda values: values.write(ONE, rows(("x", 0, 0, 1.0))),
        lambda values: values.matching(ONE, "key", "x"),
    ):
        with pytest.raises(OnlineError) as failed:
            call(RedisValues(f"127.0.0.1:{port},db=3,password=hush"))
        assert f"Redis at 127.0.0.1:{port} (database 3), does not answer" in str(failed.value)
        assert "start it, or correct HEADRACE_REDIS" in str(failed.value)
        assert "hush" not in str(failed.value)
    assert time.monotonic() - started < 3


def test_a_password_that_redis_does_not_know():
    with redis_values(), pytest.raises(OnlineError, match="refused the login") as failed:
        RedisValues(f"{REDIS},username=nobody,password=hush").count(ONE)
    assert "hush" not in str(failed.value)


def test_an_address_as_feast_writes_it():
    found = redis_address("cache.example.org:6380,db=2,ssl=true,password=a=b,socket_timeout=1.5")
    assert (found.host, found.port) == ("cache.example.org", 6380)
    assert found.options == {"db": 2, "ssl": True, "password": "a=b", "socket_timeout": 1.5}
    assert "a=b" not in repr(found) + str(found)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("cache.example.org", "is not of the form host:port"),
        (":6379", "is not of the form host:port"),
        ("db=1", "is not of the form host:port"),
        ("h:99999", "is not of the form host:port"),
        ("h:1,h:2", "has 2 servers; set one"),
        ("h:1,db=one", "option 'db' needs a whole number"),
        ("h:1,ssl=maybe", "option 'ssl' needs true or false"),
        ("h:1,databse=1,password=hush", "has the option 'databse', which is none of db, password"),
    ],
)
def test_addresses_that_cannot_be_understood(address, said):
    with pytest.raises(OnlineError, match="HEADRACE_REDIS") as failed:
        RedisValues(address)
    assert said in str(failed.value)
    assert "hush" not in str(failed.value)
