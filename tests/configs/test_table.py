"""What a table's file may say, and the sentence for each thing that it may not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from configs.reading import ConfigError
from configs.table import Table, ingest_order, load_tables


def content(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "source": {"kind": "sql", "location": "SELECT 1", "url_env": "X"},
        "key": ["id"],
        "columns": {
            "id": {"type": "integer"},
            "name": {"type": "string", "nullable": True},
            "moved": {"type": "time"},
            "size": {"type": "number", "nullable": True},
        },
    }
    for key, value in changes.items():
        base[key] = {**base[key], **value} if isinstance(base.get(key), dict) else value
    return base


def load(folder: Path, **tables: dict[str, Any]) -> dict[str, Table]:
    (folder / "tables").mkdir()
    for name, table in tables.items():
        (folder / "tables" / f"{name}.yaml").write_text(yaml.safe_dump(table))
    return load_tables(folder / "tables", folder / "none")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"key": ["ident"]}, "key names the column 'ident', which is not declared. Did you mean 'id'?"),
        ({"key": ["name"]}, "key = 'name' is a column that may be null; remove its nullable: true"),
        ({"day": "id"}, "day = 'id' is a integer column; expected type: time"),
        (
            {"columns": {"moved": {"type": "time", "nullable": True}}, "day": "moved"},
            "day = 'moved' is a column that may",
        ),
        ({"references": {"id": "others"}}, "references.id = 'others': expected table.column"),
        ({"gates": {"freshness": "2d"}}, "gates.freshness needs known_at or day"),
        ({"gates": {"freshness": "2 weeks"}}, "gates.freshness = '2 weeks': expected a number and a unit"),
        ({"gates": {"quarantined": 2}}, "gates.quarantined = 2: Input should be less than or equal to 1"),
        ({"columns": {"size": {"type": "number", "low": 3, "high": 1}}}, "low 3.0 is above high 1.0"),
        ({"columns": {"name": {"type": "string", "pattern": "("}}}, "pattern '(' is not a regular expression"),
        (
            {"columns": {"size": {"type": "number", "choices": ["a"]}}},
            "choices are for strings; the column is a number",
        ),
        ({"cleaning": {"trim": ["size"]}}, "cleaning.trim names 'size', a number column; expected string"),
        ({"cleaning": {"clip": {"name": [0, 1]}}}, "cleaning.clip names 'name', a string column; expected integer or"),
        ({"cleaning": {"clip": {"size": [2, 1]}}}, "cleaning.clip.size = [2, 1]: the first is above the second"),
        ({"cleaning": {"replace": {"size": {"n/a": None}}}}, "cleaning.replace.size: 'n/a' is not a number"),
        ({"cleaning": {"replace": {"size": {1: "x"}}}}, "cleaning.replace.size: '1' becomes 'x', in a number"),
        ({"cleaning": {"replace": {"name": {False: "no"}}}}, "replace.name has the key False; YAML reads it so"),
        ({"cleaning": {"dedupe": "newest"}}, "cleaning.dedupe names the column 'newest', which is not declared"),
        ({"cleaning": {"trimm": ["name"]}}, "unknown key 'cleaning.trimm'. Did you mean 'trim'?"),
        ({"source": {"cursor": "movd"}}, "source.cursor names the column 'movd', which is not declared"),
        ({"source": {"cursor": "size"}}, "source.cursor = 'size' is a column that may be null"),
        ({"source": {"kind": "csv", "cursor": "id"}}, "cursor = 'id' needs kind: sql"),
        ({"source": {"overlap": 5}}, "overlap needs a cursor"),
        ({"source": {"cursor": "id", "overlap": -1}}, "overlap = -1.0: expected 0 or more"),
        ({"source": {"cursor": "id", "overlap": "5m"}}, "is invalid for the integer column 'id'; write 1000"),
        ({"source": {"cursor": "moved", "overlap": 300}}, "is invalid for the time column 'moved'; write 10m"),
        (
            {"source": {"cursor": "moved"}, "cleaning": {"dedupe": "last"}},
            "cleaning.dedupe has no effect with source.",
        ),
        (
            {"source": {"cursor": "id"}, "cleaning": {"clip": {"id": [0, 9]}}},
            "cleaning changes 'id', the source's cursor",
        ),
        (
            {"source": {"cursor": "moved"}, "columns": {"name": {"type": "string", "unique": True}}},
            "columns.name.unique cannot be enforced with source.cursor",
        ),
        ({"source": {"cursor": "yes"}, "columns": {"yes": {"type": "boolean"}}}, "source.cursor = 'yes' is a boolean"),
        ({"source": {"batch_rows": 0}}, "source.batch_rows = 0: Input should be greater than or equal to 1"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, sales=content(**changes))
    said = str(error.value)
    assert sentence in said and "tables/sales.yaml" in said and "\n" not in said


def test_what_fits(tmp_path: Path) -> None:
    source = {"cursor": "moved", "overlap": "10m"}
    cleaning = {"replace": {"size": {-999: None, "1.5": 2}, "name": {"n/a": None}}, "clip": {"size": [0, 9]}}
    found = load(tmp_path, sales=content(source=source, cleaning=cleaning, key=["id"]))["sales"]
    assert found.source.overlap == timedelta(minutes=10)
    assert found.cleaning.replace == {"size": {"-999": None, "1.5": 2.0}, "name": {"n/a": None}}
    assert Table.model_validate(content(source={"cursor": "id", "overlap": 1000})).source.overlap == 1000


def test_an_overlay_changes_single_settings(tmp_path: Path) -> None:
    for place, said in (("base", content()), ("over", {"source": {"url_env": "Y"}, "gates": {"rows": 7}})):
        (tmp_path / place).mkdir()
        (tmp_path / place / "sales.yaml").write_text(yaml.safe_dump(said))
    found = load_tables(tmp_path / "base", tmp_path / "over")["sales"]
    assert (found.source.url_env, found.source.location, found.gates.rows) == ("Y", "SELECT 1", 7)


def test_references_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"sales.yaml: references.id = 'item.id': there is no table 'item'. Did you mean"
    ):
        load(tmp_path, sales=content(references={"id": "item.id"}), items=content())


def test_the_problems_of_all_tables_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, a=content(gates={"rows": -1}), b=content(), c=content(source={"batch_rows": 0}, dya="moved"))
    first, *others = str(caught.value).splitlines()
    assert "tables/a.yaml: gates.rows = -1: " in first
    assert others[0].endswith("tables/c.yaml: 2 problems.") and "- unknown key 'dya'." in others[2] and len(others) == 3


def test_all_references_that_lead_nowhere_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, a=content(references={"id": "none.id"}), b=content(references={"id": "a.no"}), c=content())
    first, second = str(caught.value).splitlines()
    assert first.startswith("tables/a.yaml: references.id = 'none.id': there is no table")
    assert second.startswith("tables/b.yaml: references.id = 'a.no': table 'a' has no column 'no'")


def test_a_reference_to_a_column_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"table 'items' has no column 'nam'. Did you mean 'name'"):
        load(tmp_path, sales=content(references={"id": "items.nam"}), items=content())


def test_a_circle_of_references_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"The tables (a → b → c → a|b → c → a → b|c → a → b → c) refer to each other"
    ):
        load(
            tmp_path,
            a=content(references={"id": "b.id"}),
            b=content(references={"id": "c.id"}),
            c=content(references={"id": "a.id"}),
        )


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20), st.sets(st.integers(0, 7)))
def test_every_table_comes_after_those_it_refers_to(pairs: list[tuple[int, int]], wanted: set[int]) -> None:
    columns = {f"c{target}": {"type": "integer"} for target in range(8)}
    tables = {}
    for number in range(8):
        targets = {target for source, target in pairs if source == number and target <= number}  # itself may be one
        references = {f"c{target}": f"t{target}.c0" for target in targets}
        tables[f"t{number}"] = Table.model_validate(content(columns=columns, references=references))
    order = ingest_order(tables, {f"t{number}" for number in wanted})
    assert sorted(order) == sorted(f"t{number}" for number in wanted)
    for name in order:
        for target in {each.partition(".")[0] for each in tables[name].references.values()} - {name}:
            assert target not in order or order.index(target) < order.index(name)
