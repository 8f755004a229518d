"""Random feature histories and requests, and the rule of retrieval read literally, row by row."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Bool, Float64, Int64, String, UnixTimestamp
from hypothesis import strategies as st

from feature_repo.transforms.age import age

BASE = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
NANOS = int(BASE.timestamp()) * 10**9
TEXT = ["a", "b", "Ä long key, longer than twelve bytes"]
NUMBERS = [0, 1, 2**60 + 1]
FEATURES = {
    "number": (Float64, pa.float64()),
    "count": (Int64, pa.int64()),
    "name": (String, pa.string()),
    "flag": (Bool, pa.bool_()),
    "when": (UnixTimestamp, pa.timestamp("us", "UTC")),
}
ZONES = ["UTC", "America/New_York", "Asia/Kolkata"]


@dataclass(frozen=True)
class Row:
    keys: tuple[Any, ...]
    event: int  # nanoseconds
    known: int
    values: tuple[Any, ...]


@dataclass(frozen=True)
class ViewCase:
    """One view: ``keys`` column → request column, ``ttl`` in nanoseconds (0: never), rows in the order of the files."""

    name: str
    keys: dict[str, str]
    text: bool
    ttl: int
    unit: str
    rows: list[Row]
    files: int

    def write(self, root: Path) -> FeatureView:
        """Write the files, a few rows each, and return the view that reads them."""
        folder = root / self.name
        folder.mkdir(parents=True)
        scale = {"ns": 1, "us": 1000, "ms": 10**6}[self.unit]
        moment = pa.timestamp(self.unit, "UTC")
        columns: dict[str, pa.Array] = {
            key: pa.array([row.keys[place] for row in self.rows], self._key_type(key))
            for place, key in enumerate(self.keys)
        }
        columns["event"] = pa.array([row.event // scale for row in self.rows], pa.int64()).cast(moment)
        columns["known"] = pa.array([row.known // scale for row in self.rows], pa.int64()).cast(moment)
        for place, (name, (_, kind)) in enumerate(FEATURES.items()):
            columns[name] = pa.array([row.values[place] for row in self.rows], kind)
        table = pa.table(columns)
        size = -(-len(self.rows) // self.files) or 1
        for number in range(self.files):
            pq.write_table(table.slice(number * size, size), folder / f"{number:02}.parquet", row_group_size=3)
        return self.view()

    def view(self) -> FeatureView:
        entities = [
            Entity(name=f"{self.name}_{key}", join_keys=[key], value_type=self._value_type(key)) for key in self.keys
        ]
        found = FeatureView(
            name=self.name,
            entities=entities,
            ttl=timedelta(microseconds=self.ttl // 1000) if self.ttl else None,
            schema=[
                *(
                    Field(name=key, dtype=String if self._value_type(key) == ValueType.STRING else Int64)
                    for key in self.keys
                ),
                *(Field(name=name, dtype=kind) for name, (kind, _) in FEATURES.items()),
                age(self.name),
            ],
            source=FileSource(
                name=self.name, path=f"{self.name}/*.parquet", timestamp_field="event", created_timestamp_column="known"
            ),
        )
        if any(key != request for key, request in self.keys.items()):
            found = found.with_join_key_map(self.keys)
        return found

    def expected(self, keys: dict[str, Any], at: int | None) -> tuple[Row | None, bool]:
        """The row that counts for one request, and whether it has expired by then."""
        wanted = tuple(keys[request] for request in self.keys.values())
        if at is None or any(key is None for key in wanted):
            return None, False
        visible = [
            (row.event, row.known, place)
            for place, row in enumerate(self.rows)
            if row.keys == wanted and row.event <= at and row.known <= at
        ]
        if not visible:
            return None, False
        event, _, place = max(visible)
        return self.rows[place], bool(self.ttl) and at - event > self.ttl

    def expected_age(self, row: Row, at: int) -> float:
        """Hours from the row's event to the request, each in whole microseconds, rounded once."""
        return float(Fraction(at // 1000 - row.event // 1000, 3_600_000_000))

    def _key_type(self, key: str) -> pa.DataType:
        return pa.string() if self._value_type(key) == ValueType.STRING else pa.int64()

    def _value_type(self, key: str) -> ValueType:
        return ValueType.STRING if key == "key" and self.text else ValueType.INT64


@dataclass(frozen=True)
class Case:
    """Views and requests; ``times`` are nanoseconds, given to the store as ``form`` says."""

    views: list[ViewCase]
    keys: list[dict[str, Any]]
    times: list[int | None]
    form: str
    unit: str
    nullable: bool = field(default=False)

    def requests(self) -> pd.DataFrame:
        frame = pd.DataFrame({"request": range(len(self.keys))})
        for name in ("key", "other", "part"):
            values = [row[name] for row in self.keys]
            whole = all(value is None or isinstance(value, int) for value in values)
            # a column of integers with a missing one is floats in pandas, unless they are large or declared nullable
            small = all(value is None or value < 2**53 for value in values) if whole else False
            kind: Any = object if not whole else ("Int64" if self.nullable or not small else None)
            frame[name] = pd.Series(values, dtype=kind)
        frame["event_timestamp"] = self._times()
        return frame

    def _times(self) -> Any:
        if self.form == "mixed":
            zones: list[Any] = [None, UTC, timezone(timedelta(hours=-5)), ZoneInfo("Asia/Kolkata")]
            moments = []
            for place, at in enumerate(self.times):
                moment = None if at is None else datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at // 1000)
                zone = zones[place % len(zones)]
                if moment is not None:
                    moment = moment.replace(tzinfo=None) if zone is None else moment.astimezone(zone)
                moments.append(moment)
            return pd.Series(moments, dtype=object)
        scale = {"ns": 1, "us": 1000, "ms": 10**6}[self.unit]
        whole = pd.array([None if at is None else at // scale for at in self.times], dtype="Int64")
        raw = whole.to_numpy("int64", na_value=pd.NaT.value).astype(f"datetime64[{self.unit}]")
        naive = pd.Series(raw)
        return naive if self.form == "naive" else naive.dt.tz_localize("UTC").dt.tz_convert(self.form)


@st.composite
def cases(draw: Any, views: int = 3) -> Case:
    """Ties, late rows, corrections, nulls, duplicates, unseen entities, several units, zones, files, TTLs, key maps."""
    step = draw(st.sampled_from([1000, 10**6]))
    text = draw(st.booleans())
    pool = TEXT if text else NUMBERS
    units = ["us", "ns"] if step == 1000 else ["ms", "us", "ns"]
    value = st.tuples(
        st.one_of(st.none(), st.floats(-5, 5)),
        st.one_of(st.none(), st.integers(2**53, 2**53 + 4), st.integers(-3, 3)),
        st.one_of(st.none(), st.sampled_from(["x", "yy", ""])),
        st.one_of(st.none(), st.booleans()),
        st.one_of(st.none(), st.integers(0, 5).map(lambda seconds: BASE + timedelta(seconds=seconds))),
    )
    drawn = []
    for number in range(draw(st.integers(1, views))):
        keys = draw(
            st.sampled_from([{"key": "key"}, {"key": "other"}, {"key": "key", "part": "part"}, {"part": "part"}, {}])
        )
        unit = draw(st.sampled_from(units))
        jitter = st.sampled_from([0, 1, 499]) if unit == "ns" else st.just(0)
        entity = st.tuples(*(st.sampled_from([*(pool if key == "key" else [1, 2]), None]) for key in keys))
        rows = draw(
            st.lists(
                st.builds(
                    lambda keys, event, lag, extra, values: Row(
                        keys, NANOS + event * step + extra, NANOS + (event + lag) * step + extra, values
                    ),
                    entity,
                    st.integers(0, 30),
                    st.sampled_from([-3, 0, 0, 0, 1, 7, 40]),
                    jitter,
                    value,
                ),
                max_size=30,
            )
        )
        if draw(st.booleans()):
            rows = sorted(rows, key=lambda row: row.event)
        ttl = draw(st.sampled_from([0, 5, 20])) * step
        drawn.append(ViewCase(f"v{number}", keys, text, ttl, unit, rows, draw(st.integers(1, 3))))
    requests = draw(
        st.lists(
            st.tuples(
                st.sampled_from([*pool, "never seen" if text else 77, None]),
                st.sampled_from([*pool, None]),
                st.sampled_from([1, 2, 3, None]),
                st.one_of(st.none(), st.integers(-1, 80)),
                st.sampled_from([0, 0, 1, 999]),
            ),
            min_size=1,
            max_size=20,
        )
    )
    if draw(st.booleans()):
        requests += requests[: len(requests) // 2]
    form = draw(st.sampled_from(["naive", "mixed", *ZONES]))
    unit = "us" if form == "mixed" else draw(st.sampled_from(units))
    scale = {"ns": 1, "us": 1000, "ms": 10**6}[unit]
    times = [None if at is None else (NANOS + at * step + extra) // scale * scale for *_, at, extra in requests]
    keys = [{"key": key, "other": other, "part": part} for key, other, part, *_ in requests]
    return Case(drawn, keys, times, form, unit, draw(st.booleans()))


def config(root: Path, **offline: Any) -> SimpleNamespace:
    return SimpleNamespace(offline_store=SimpleNamespace(**{"root": str(root), "memory_limit": "1GB", **offline}))


def registry() -> SimpleNamespace:
    return SimpleNamespace(list_on_demand_feature_views=lambda *_, **__: [])
