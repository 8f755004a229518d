"""Fingerprints are of content: any layout of the same rows has the same one, any other value has another."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.frames.fingerprints import FrameDigest, changed_days, frame_fingerprint, table_contents
from feature_repo.tables import manifest, table_path
from tests.feature_repo.raw_tables import put, raw, small_settings


def frame(seed: int, rows: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    found = pd.DataFrame(
        {
            "id": [f"r{number}" for number in range(rows)],
            "at": pd.to_datetime(random.integers(0, 10**9, rows), unit="s", utc=True),
            "number": random.normal(size=rows),
            "whole": random.integers(-(2**60), 2**60, rows),
            "text": random.choice(["a", "b", None], rows),
        }
    )
    found.loc[random.random(rows) < 0.2, "number"] = np.nan
    return found


@given(st.integers(0, 10**6), st.integers(2, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_any_cut_into_parts_is_the_same_and_any_change_is_another(seed, rows, data):
    whole = frame(seed, rows)
    found, columns = frame_fingerprint(whole)
    parts, cuts = FrameDigest(), sorted(data.draw(st.sets(st.integers(1, rows - 1), max_size=4)))
    for start, end in zip([0, *cuts], [*cuts, rows], strict=True):
        parts.update(whole.iloc[start:end])
    assert parts.fingerprint() == found and parts.columns() == columns

    row, name = data.draw(st.integers(0, rows - 1)), data.draw(st.sampled_from(list(whole.columns)))
    other = whole.copy()
    value = other.loc[row, name]
    if name == "at":
        other.loc[row, name] = value + pd.Timedelta("1us")
    elif name == "whole":
        other.loc[row, name] = value + 1
    elif name == "number":
        other.loc[row, name] = 0.5 if pd.isna(value) else np.nextafter(value, np.inf)
    else:
        other.loc[row, name] = f"{value}x"
    changed, others = frame_fingerprint(other)
    assert changed != found
    assert [name for name in columns if columns[name] != others[name]] == [name]


def test_a_value_counts_and_not_how_it_is_held():
    one = pd.DataFrame({"x": [1, 2, 0], "t": ["a", None, "b"], "at": pd.to_datetime([1, 2, 3], unit="s", utc=True)})
    other = one.assign(
        x=np.array([1.0, 2.0, -0.0], "float32"), t=["a", np.nan, "b"], at=one["at"].astype("datetime64[us, UTC]")
    )
    assert frame_fingerprint(one) == frame_fingerprint(other)
    assert frame_fingerprint(one) != frame_fingerprint(one.iloc[::-1])
    assert frame_fingerprint(one) != frame_fingerprint(one.rename(columns={"x": "y"}))
    assert frame_fingerprint(one) != frame_fingerprint(one.iloc[:2])


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    found = small_settings(tmp_path_factory.mktemp("tables") / "home")
    put(found, raw())
    return found


def test_a_table_is_fingerprinted_as_known_then_whatever_its_files(ingested):
    import duckdb

    early = pd.Timestamp("2013-02-01", tz="UTC").to_pydatetime()
    before = table_contents(ingested, ["outcomes", "weather"], early)
    assert before["outcomes"]["rows"] == (raw()["outcomes"]["known_at"] <= early).sum()

    # rows that became known later change what is stored, not what was known
    put(ingested, {"weather": raw()["weather"].assign(temp=lambda rows: rows["temp"])})
    fewer = raw()["outcomes"]
    put(ingested, {"outcomes": fewer[fewer["known_at"] < pd.Timestamp("2013-03-20", tz="UTC")]})
    after = table_contents(ingested, ["outcomes", "weather"], early)
    assert after["outcomes"]["stored"] != before["outcomes"]["stored"]
    assert after["outcomes"]["known"] == before["outcomes"]["known"]

    # the same rows in other files, in another order
    held = manifest(ingested, "outcomes")
    for file in held.files.values():
        path = table_path(ingested, "outcomes") / file
        rows = f"SELECT * FROM read_parquet('{path}', hive_partitioning=false) ORDER BY hash(flight_id)"
        duckdb.sql(f"COPY ({rows}) TO '{path}.new' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
        path.with_name(f"{path.name}.new").replace(path)
    assert table_contents(ingested, ["outcomes"], early)["outcomes"] == after["outcomes"]

    # a correction of one value of one day
    corrected = fewer.copy()
    row = corrected.index[corrected["known_at"] < early][5]
    corrected.loc[row, "arr_delay"] = 321.0
    put(ingested, {"outcomes": corrected})
    now = table_contents(ingested, ["outcomes"], early)["outcomes"]
    assert now["known"] != before["outcomes"]["known"]
    assert len(changed_days(before["outcomes"]["days"], now["days"])) == 1
