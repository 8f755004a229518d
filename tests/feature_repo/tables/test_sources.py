"""Files and functions as sources, read in batches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from configs.table import Table
from feature_repo.tables.quality import check
from feature_repo.tables.sources import _NULL_TEXTS, SourceError, batches, source_fingerprint


def declared(kind: str, location: object, columns: dict[str, str] | None = None, **source: Any) -> Table:
    columns = columns or {"carrier": "string", "name": "string"}
    return Table.model_validate(
        {
            "source": {"kind": kind, "location": str(location), **source},
            "key": [next(iter(columns))],
            "columns": {
                name: {"type": each, "nullable": number > 0} for number, (name, each) in enumerate(columns.items())
            },
        }
    )


def read(table: Table) -> pd.DataFrame:
    return pd.concat(list(batches("airlines", table)), ignore_index=True)


def frames() -> Iterator[pd.DataFrame]:
    for number in range(3):
        yield pd.DataFrame({"carrier": [f"{number}{each}" for each in range(number * 3)], "name": "x"})


def nothing() -> list[int]:
    return [1]


def number() -> int:
    return 1


def broken() -> pd.DataFrame:
    raise KeyError("day")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_folders_and_globs(tmp_path, kind):
    frame = pd.DataFrame({"carrier": ["UA", "AA"], "name": ["United", "American"]})
    for part in range(2):
        path = tmp_path / f"part{part}.{kind}"
        frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path, index=False)
    (tmp_path / "_started").mkdir()
    (tmp_path / "_started" / f"half.{kind}").write_text("not yet")
    (tmp_path / f".hidden.{kind}").write_text("not data")
    for location in (tmp_path, tmp_path / f"part*.{kind}"):
        assert len(read(declared(kind, location))) == 4
    one = declared(kind, tmp_path / f"part0.{kind}")
    first = source_fingerprint("airlines", one.source)
    assert len(read(one)) == 2
    os.utime(one.source.location, ns=(1, 1))
    assert source_fingerprint("airlines", one.source) != first


@hypothesis_settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=5), st.integers(1, 6), st.sampled_from(["csv", "parquet"]))
def test_batches_are_of_the_size_asked_for_and_hold_every_row(tmp_path_factory, sizes, rows, kind):
    folder = tmp_path_factory.mktemp("parts")
    for part, size in enumerate(sizes):
        frame = pd.DataFrame({"carrier": [f"{part}-{row}" for row in range(size)], "name": ["x"] * size}, dtype=object)
        path = folder / f"{part}.{kind}"
        frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path, index=False)
    found = list(batches("airlines", declared(kind, folder, batch_rows=rows)))
    assert [value for frame in found for value in frame["carrier"]] == [
        f"{part}-{row}" for part, size in enumerate(sizes) for row in range(size)
    ]
    assert all(len(frame) == rows for frame in found[:-1]) and len(found[-1]) <= rows


def test_text_in_a_csv_stays_text_and_integers_stay_exact(tmp_path):
    (tmp_path / "x.csv").write_text("carrier,name,big,size,at\n007,NA,9007199254740993,1.5,2013-05-01\nNA,,,NA,\n")
    columns = {"carrier": "string", "name": "string", "big": "integer", "size": "number", "at": "time"}
    table = declared("csv", tmp_path / "x.csv", columns)
    valid = check(read(table), table, "airlines").valid
    assert valid["carrier"].tolist() == ["007", "NA"] and valid["name"].tolist() == ["NA", None]
    assert valid["big"].tolist() == [9007199254740993, pd.NA]
    assert valid["size"].fillna(0).tolist() == [1.5, 0] and valid["at"].isna().tolist() == [False, True]


def test_a_partitioned_folder_gives_its_names_to_columns_that_are_declared(tmp_path):
    for day, region in (("2013-05-01", "east%20side"), ("2013-05-02", "__HIVE_DEFAULT_PARTITION__")):
        folder = tmp_path / f"day={day}" / f"region={region}"
        folder.mkdir(parents=True)
        pd.DataFrame({"carrier": ["UA"], "name": ["x"]}).to_parquet(folder / "part-0.parquet")
    found = read(declared("parquet", tmp_path, {"carrier": "string", "name": "string"}))
    assert list(found) == ["carrier", "name"]
    columns = {"carrier": "string", "name": "string", "day": "time", "region": "string"}
    table = declared("parquet", tmp_path, columns)
    valid = check(read(table), table, "airlines").valid
    assert valid["day"].dt.strftime("%d").tolist() == ["01", "02"] and valid["region"].tolist() == ["east side", None]


def test_integers_with_gaps_in_parquet_stay_exact(tmp_path):
    frame = pd.DataFrame({"carrier": ["a", "b"], "big": pd.array([2**53 + 1, None], dtype="Int64")})
    frame.iloc[::-1].to_parquet(tmp_path / "x.parquet")  # pandas adds a column for such an index
    table = declared("parquet", tmp_path / "x.parquet", {"carrier": "string", "big": "integer"})
    assert check(read(table), table, "airlines").valid["big"].tolist() == [pd.NA, 2**53 + 1]


def test_a_function_may_yield_frames():
    table = declared("python", "tests.feature_repo.tables.test_sources:frames", batch_rows=4)
    assert [len(frame) for frame in batches("airlines", table)] == [4, 4, 1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (declared("csv", "/nowhere/*.csv"), "no csv file at '/nowhere/\\*.csv'"),
        (declared("python", "feature_repo.examples.nycflights:flihgts"), "cannot be imported"),
        (declared("python", "nowhere"), "expected module:function"),
        (declared("python", "feature_repo.examples.nycflights:__all__"), "is not a function"),
        (declared("python", "tests.feature_repo.tables.test_sources:number"), "returned a int; expected a DataFrame"),
        (declared("python", "tests.feature_repo.tables.test_sources:nothing"), "yielded a int; expected a DataFrame"),
        (declared("sql", "SELECT 1"), "url_env is missing"),
        (declared("parquet", __file__), "test_sources.py\\) could not be read: ArrowInvalid: .*; fix the file"),
        (declared("python", "tests.feature_repo.tables.test_sources:broken"), "KeyError: 'day'; correct source in"),
    ],
)
def test_a_source_that_cannot_be_read_says_so(table, message):
    with pytest.raises(SourceError, match=message) as error:
        read(table)
    assert "\n" not in str(error.value)


def test_of_many_files_the_broken_one_is_named(tmp_path):
    (tmp_path / "1.csv").write_text("carrier,name\na,A\n")
    (tmp_path / "2.csv").write_text("carrier,name\nb,B\nc,C,3\n")
    with pytest.raises(
        SourceError, match=r"2\.csv\) could not be read: ParserError: .* line 3.*; fix the file"
    ) as error:
        read(declared("csv", tmp_path))
    assert "\n" not in str(error.value)


def test_times_of_files_are_utc(tmp_path):
    frame = pd.DataFrame({"carrier": ["a"], "at": [datetime(2013, 5, 1, 12)]})
    frame.to_parquet(Path(tmp_path) / "x.parquet")
    table = declared("parquet", tmp_path / "x.parquet", {"carrier": "string", "at": "time"})
    assert check(read(table), table, "airlines").valid["at"].tolist() == [datetime(2013, 5, 1, 12, tzinfo=UTC)]


def test_the_texts_that_are_null_are_those_of_pandas() -> None:
    from pandas._libs.parsers import STR_NA_VALUES

    assert sorted(_NULL_TEXTS) == sorted(STR_NA_VALUES)
