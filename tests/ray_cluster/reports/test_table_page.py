"""The page of a raw table: every part is there, nothing comes through unescaped, what is missing is a sentence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.settings import Settings, load_settings
from configs.table import Table
from feature_repo.storage.files import write_json
from feature_repo.tables.change import alerts, compare
from feature_repo.tables.table_files import Manifest
from feature_repo.tables.table_profile import profile_frame, profile_table
from ray_cluster.reports import table_report
from ray_cluster.reports.table_charts import histogram, over_time, rules, shares_of
from ray_cluster.reports.table_page import TableContent, render_index, render_table
from ray_cluster.reports.table_report import TablePageError, table_content, write_table_page, write_table_pages
from tests.ray_cluster.reports.test_lifecycle_report import Page

SECTIONS = ["summary", "schema", "time", "columns", "change", "together", "quarantine"]
SPEC = {
    "description": "Hourly observations.",
    "source": {"kind": "csv", "location": "data/weather.csv"},
    "key": ["station", "at"],
    "day": "at",
    "known_at": "at",
    "columns": {
        "station": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "temp": {"type": "number", "low": -60, "high": 130, "nullable": True, "description": "Fahrenheit"},
        "sky": {"type": "string", "choices": ["clear", "rain"]},
        "at": {"type": "time"},
        "id": {"type": "integer", "unique": True},
    },
    "rows": {"warm_rain": "sky <> 'rain' OR temp > 0"},
    "references": {"station": "airports.faa"},
    "gates": {"quarantined": 0.01, "row_change": 0.5, "freshness": "1d", "unmatched": 0.2},
}


def rows(count: int, seed: int, gap: float = 0.0, sky: tuple[str, ...] = ("clear", "rain")) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"station": random.choice(["JFK", "EWR"], count), "temp": random.normal(50, 10, count)})
    frame.loc[random.random(count) < gap, "temp"] = np.nan
    frame["sky"] = random.choice(sky, count)
    frame["at"] = pd.date_range("2013-01-01", periods=count, freq="h", tz="UTC")
    return frame.assign(id=np.arange(count))


def manifest(frame: pd.DataFrame, **given: Any) -> Manifest:
    facts = {
        "table": "weather",
        "fingerprint": "0123456789abcdef",
        "source_fingerprint": "f",
        "as_of": "2013-02-01T00:00:00+00:00",
        "rows_in": len(frame) + 2,
        "rows_out": len(frame),
        "quarantined": 2,
        "later": 0,
        "files": {},
        "reasons": {"temp = 999.0 fails in_range(-60.0, 130.0)": 1, "row fails warm_rain": 1},
    }
    return Manifest(**(facts | given))  # type: ignore[arg-type]


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    """A home with one table that was ingested twice, the second time with gaps and another sky."""
    loaded = load_settings("local", {"HEADRACE_HOME": str(tmp_path / "home")})
    loaded = loaded.model_copy(
        update={"tables": {"weather": Table.model_validate(SPEC), "later": loaded.tables["planes"]}}
    )
    folder, frame = loaded.home / "tables" / "weather", rows(700, 1, gap=0.1, sky=("clear", "snow"))
    refused = frame.head(2).assign(temp=[999.0, -3.0], reason=list(manifest(frame).reasons))
    folder.mkdir(parents=True)
    refused.astype({"temp": str}).to_parquet(folder / "quarantine.parquet", index=False)
    write_json(folder / "profile.previous.json", profile_table(rows(600, 2), day="at"))
    write_json(folder / "profile.json", profile_table(frame, day="at"))
    write_json(folder / "manifest.json", dataclasses.asdict(manifest(frame)))
    return loaded


@pytest.fixture
def text(here: Settings) -> str:
    return write_table_page(here, "weather").read_text(encoding="utf-8")


def test_the_page_is_whole_and_self_contained(text: str) -> None:
    page = Page(text)
    assert [part for part in page.ids if part in SECTIONS] == SECTIONS
    assert len(page.ids) == len(set(page.ids))
    assert {a for a in page.addresses if not a.startswith("#")} == {"index.html", "weather.html"}
    assert page.tags.count("svg") == 6  # the mark, rows over time, three histograms, one gap over time
    assert len(text.encode()) < 200_000 and "#0a0b" not in text


def test_the_page_says_what_was_found(text: str) -> None:
    words = " ".join(" ".join(Page(text).words).split())
    for phrase in (
        "Hourly observations.", "Rows in 702", "Stored 700", "2 rows quarantined, most often (1)", "null, was 0 %",
        "sky: 'snow'", "appeared.", "sky: 'rain'", "vanished.", "700 rows, 600 before",
        "number , may be missing , -60 to 130",
        "never missing , one of clear, rain", "in airports.faa", "row change", "freshness", "warm rain", "Fahrenheit",
        "Rows per day of at", "Fewer than two numeric columns vary.", "unique",
    ):  # fmt: skip
        assert phrase in words, phrase
    assert "Undefined" not in text and ">nan<" not in text.lower()


def test_what_was_declared_stands_beside_what_was_found(here: Settings) -> None:
    content = table_content(here, "weather")
    assert dict(content.mentions) == {"station": 0, "temp": 1, "sky": 0, "at": 0, "id": 0, "warm_rain": 1}
    gates = {gate["gate"]: gate for gate in content.gates}
    assert gates["quarantined"]["held"] and gates["quarantined"]["found"] == "0.28%"
    assert (gates["row change"]["bound"], gates["row change"]["held"]) == ("at most 50%", None)
    assert gates["rows"]["found"] == "700" and gates["rows"]["held"]
    assert not gates["freshness"]["held"]  # the last row is of 30 January 03:00, the ingest as of 1 February
    assert gates["freshness"]["found"] == "45.0 h"
    assert gates["unmatched"]["held"] and gates["unmatched"]["found"] == "0.0%"
    assert list(content.refused[0]) == ["reason", "station", "temp", "sky", "at", "id"]
    spec = Table.model_validate(SPEC).columns
    assert rules(spec["sky"]) == ["never missing", "one of clear, rain"] and rules(spec["id"]) == [
        "never missing",
        "unique",
    ]


def test_counts_that_a_manifest_may_have(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    content = table_content(here, "weather")
    more = {**content.manifest, "cleaned": {"trim station": 3, "clip temp": 4}, "unmatched": {"station": 70}}
    words = " ".join(Page(render_table(dataclasses.replace(content, manifest=more))).words).split()
    assert " ".join(words).count("Cleaned 7 ") == 1 and "Unmatched 70" in " ".join(words)
    assert "clip temp 4" in " ".join(words)
    gates = {g["gate"]: g for g in table_report._gates(content.spec, dict(more), dict(content.profile))}
    assert gates["unmatched"]["held"] and gates["unmatched"]["found"] == "10.0%"


def test_a_refused_ingest_is_told_first(here: Settings) -> None:
    for table in ("weather", "later"):
        said = f"Table '{table}' is refused by its gate 'rows': 0 valid rows; expected at least 1."
        write_json(here.home / "tables" / table / "refused" / "report.json", {"sentence": said})
    assert table_content(here, "weather").alerts[0].startswith("Table 'weather' is refused by its gate")
    with pytest.raises(TablePageError, match="Table 'later' is refused by its gate 'rows'"):
        table_content(here, "later")


def test_a_table_with_little_to_tell_has_a_page_too() -> None:
    plain = Table.model_validate(
        {"source": {"kind": "csv", "location": "x"}, "key": ["a"], "columns": {"a": {"type": "string"}}}
    )
    for frame in (pd.DataFrame({"a": pd.Series([], dtype=object)}), pd.DataFrame({"a": ["x", None]}), pd.DataFrame()):
        held = dataclasses.asdict(manifest(frame, quarantined=0, reasons={}, rows_in=len(frame)))
        text = render_table(TableContent("t", plain, held, profile_table(frame)))
        words = " ".join(" ".join(Page(text).words).split())
        for sentence in ("There is no earlier content", "Nothing stands out", "No row was refused", "Fewer than two"):
            assert sentence in words
    Page(render_index([], ["a", "b"]))


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=12))
def test_nothing_comes_through_unescaped(noise: str) -> None:
    evil = f"<script>alert('x')</script>\"'&{noise}"
    frame = pd.DataFrame({evil: [evil, "b", None], "n": [1.0, 2.0, 3.0], "m": [3, 2, 2]})
    spec = Table.model_validate(
        {
            "description": evil,
            "source": {"kind": "csv", "location": evil},
            "key": ["n"],
            "columns": {evil: {"type": "string", "description": evil}, "n": {"type": "number"}},
            "rows": {evil: evil},
        }
    )
    held = dataclasses.asdict(manifest(frame, reasons={evil: 2}, fingerprint=evil))
    before, now = profile_table(frame.head(1)), profile_table(frame)
    change = compare(before, now)
    content = TableContent(
        evil, spec, held, now, before, change, alerts(now, change), refused=[{evil: evil}], others=[evil],
        gates=[{"gate": evil, "bound": evil, "found": evil, "held": True}],
    )  # fmt: skip
    for text in (render_table(content), render_index([content], [evil])):
        assert "<script>alert" not in text and Page(text).tags.count("script") == 1


def test_bars_and_outline_have_one_scale() -> None:
    random = np.random.default_rng(0)
    now, before = (
        profile_table(pd.DataFrame({"x": values}))["columns"][0]
        for values in (random.normal(size=1000), random.normal(size=4000))
    )
    shape = histogram(now, before)
    assert shape is not None and shape["outline"].startswith("M")
    assert max(bar["height"] for bar in shape["bars"]) <= 100
    assert sum(bar["rows"] for bar in shape["bars"]) == round(1000 * (1 - shape["below"] - shape["above"]))
    assert sum(bar["width"] for bar in shape["bars"]) == pytest.approx(100)
    assert 0 <= shape["box"]["5"] < shape["box"]["25"] < shape["box"]["50"] < shape["box"]["95"] <= 100
    few, other = (profile_table(pd.DataFrame({"x": v}))["columns"][0] for v in ([0, 10, 10, 30], [0, 0, 10, 99]))
    spikes = histogram(few, other)
    assert spikes is not None and [bar["low"] for bar in spikes["bars"]] == [0, 10, 30]
    assert [bar["rows"] for bar in spikes["bars"]] == [1, 2, 1] and spikes["outline"].count("M") == 2
    assert all(bar["x"] >= 0 and bar["x"] + bar["width"] <= 100 + 1e-9 for bar in spikes["bars"])
    assert histogram(profile_table(pd.DataFrame({"x": [7.0, 7.0]}))["columns"][0], None) is not None
    assert histogram({"kind": "text"}, None) is None


def test_rows_over_time_and_shares() -> None:
    series = {"unit": "day", "starts": ["2013-01-01", "2013-01-02"], "rows": [4, 8]}
    drawn = over_time(series, {"unit": "day", "starts": ["2013-01-02"], "rows": [16]})
    assert [bar["height"] for bar in drawn["bars"]] == [25, 50] and drawn["highest"] == 16 and drawn["outline"]
    assert over_time(series, {"unit": "month", "starts": ["2013-01-01"], "rows": [9]})["outline"] is None
    assert shares_of({"nulls": 2, "top": [["a", 6]]}, 10)[-1] == {"name": None, "rows": 2, "share": 0.25}


def test_pages_of_all_tables_and_the_index(here: Settings) -> None:
    pages = write_table_pages(here)
    assert [page.name for page in pages] == ["weather.html", "index.html"]
    index = " ".join(Page(pages[-1].read_text(encoding="utf-8")).words)
    assert "weather" in index and "Not ingested yet: later." in index


def test_what_cannot_be_shown_is_one_sentence(here: Settings, tmp_path: Path) -> None:
    for table, said in (
        ("wether", "There is no table 'wether'. Did you mean 'weather'? Known: weather, later."),
        ("later", "Table 'later' has no rows to profile yet; run `headrace run ingest --param tables=[later]`."),
    ):
        with pytest.raises(TablePageError) as raised:
            write_table_page(here, table)
        assert str(raised.value) == said
    with pytest.raises(TablePageError, match="No table was ingested into"):
        write_table_pages(here.model_copy(update={"home": tmp_path / "empty"}))


def test_the_profile_as_a_frame(here: Settings) -> None:
    frame = profile_frame(here, "weather")
    assert list(frame.index) == ["station", "temp", "sky", "at", "id"]
    held = json.loads((here.home / "tables" / "weather" / "profile.json").read_text())["columns"][1]
    assert frame.loc["temp", "q50"] == held["quantiles"]["50"] and frame.loc["temp", "nulls"] == held["nulls"]
    assert frame.loc["sky", "most_frequent"] in ("clear", "snow") and frame.loc["id", "flags"] == "unique"
    assert profile_frame(here, "later").empty
