"""Gates: a table that fails one is refused in one sentence, before anything of it changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from configs.settings import Settings, load_settings
from configs.table import Gates, Table
from feature_repo import tables
from feature_repo.storage.files import read_json
from feature_repo.tables.conditions import ConditionError
from feature_repo.tables.quality import TableError

END = datetime(2014, 1, 1, tzinfo=UTC)


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    """Shops, and sales that refer to them and to an earlier sale."""
    loaded = load_settings("local", {"HEADRACE_HOME": str(tmp_path / "home")})
    shops = {
        "source": {"kind": "csv", "location": str(tmp_path / "shops.csv")},
        "key": ["shop"],
        "columns": {"shop": {"type": "string"}},
    }
    sales = {
        "source": {"kind": "csv", "location": str(tmp_path / "sales.csv")},
        "key": ["id"],
        "day": "sold_at",
        "known_at": "known_at",
        "columns": {
            "id": {"type": "integer"},
            "shop": {"type": "string", "nullable": True},
            "again": {"type": "integer", "nullable": True},
            "amount": {"type": "number", "low": 0},
            "sold_at": {"type": "time"},
            "known_at": {"type": "time"},
        },
        "references": {"shop": "shops.shop", "again": "sales.id"},
        "gates": {"quarantined": 0.5},
    }
    read = {"shops": Table.model_validate(shops), "sales": Table.model_validate(sales)}
    put_shops(tmp_path, "a", "b")
    return loaded.model_copy(update={"tables": read})


def put_shops(folder: Path, *names: str) -> None:
    (folder / "shops.csv").write_text("\n".join(["shop", *names]) + "\n")


def put(settings: Settings, rows: int = 10, **changes: Any) -> None:
    sold = pd.date_range("2013-05-01", periods=rows, freq="6h", tz="UTC")
    frame = pd.DataFrame(
        {
            "id": range(rows),
            "shop": "a",
            "again": 0,
            "amount": 1.0,
            "sold_at": sold,
            "known_at": sold + timedelta(hours=1),
        }
    )
    frame.assign(**changes).to_csv(settings.tables["sales"].source.location, index=False)


def gated(settings: Settings, **gates: Any) -> Settings:
    spec = settings.tables["sales"].model_copy(update={"gates": Gates.model_validate(gates)})
    return settings.model_copy(update={"tables": {**settings.tables, "sales": spec}})


def content(settings: Settings) -> dict[str, bytes]:
    folder = tables.table_path(settings, "sales")
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.parametrize(
    ("gates", "rows", "changes", "sentence"),
    [
        (
            {"quarantined": 0.2},
            10,
            {"amount": [-1.0] * 3 + [1.0] * 7},
            "gate 'quarantined': 3 of 10 rows (30.00%) are not valid; expected at most 20.00%",
        ),
        ({"rows": 9}, 8, {}, "gate 'rows': 8 valid rows; expected at least 9"),
        (
            {"row_change": 0.3},
            14,
            {},
            "gate 'row_change': the source has 14 rows, +40.00% against the 10 of the previous ingest; "
            "expected at most 30.00% either way",
        ),
        ({"row_change": 0.3}, 6, {}, "gate 'row_change': the source has 6 rows, -40.00% against the 10"),
        (
            {"freshness": "30d"},
            9,
            {},
            "gate 'freshness': the latest known_at is 2013-05-03T01:00:00+00:00, 243d before "
            "2014-01-01T00:00:00+00:00; expected at most 30d old",
        ),
        (
            {"unmatched": 0.25},
            10,
            {"shop": ["c"] * 3 + ["b"] * 5 + [None] * 2},
            "gate 'unmatched': 3 of 8 rows (37.50%) have a shop that is not in shops.shop; expected at most 25.00%",
        ),
        (
            {"unmatched": 0, "quarantined": 0},
            10,
            {"again": 77, "amount": [-1.0] + [1.0] * 9},
            "gate 'quarantined': 1 of 10 rows (10.00%) are not valid; expected at most 0.00% (and it fails unmatched)",
        ),
    ],
)
def test_a_failing_gate_changes_nothing_and_says_what_to_mend(here, gates, rows, changes, sentence):
    tables.ingest_table(here, "shops", END)
    put(here, 10)
    tables.ingest_table(here, "sales", END)
    before = content(here)
    put(here, rows, **changes)
    with pytest.raises(TableError) as error:
        tables.ingest_table(gated(here, **gates), "sales", END)
    said = str(error.value)
    gate = sentence.split("'")[1]
    assert said.startswith(f"Table 'sales' is refused by its {sentence}") and "\n" not in said
    assert said.endswith(f"or gates.{gate} in configs/tables/sales.yaml.")
    after = content(here)
    report = read_json(tables.table_path(here, "sales") / "refused" / "report.json")
    assert report["sentence"] == said and report["failures"][0]["gate"] == gate
    refused = pd.read_parquet(tables.table_path(here, "sales") / "refused" / "quarantine.parquet")
    assert len(refused) == sum(value == -1.0 for value in changes.get("amount", []))
    assert ("its rows are valid" in said) is (not len(refused))
    assert ("the rows that are not valid, because amount = -1.0 fails" in said) is bool(len(refused))
    assert {name: held for name, held in after.items() if not name.startswith("refused/")} == before
    put(here, 11)
    tables.ingest_table(here, "sales", END)
    assert not (tables.table_path(here, "sales") / "refused").exists()


def test_unmatched_rows_are_counted_again_when_the_other_table_changed(here, tmp_path):
    tables.ingest_table(here, "shops", END)
    put(here, shop=["a"] * 4 + ["c"] * 6)
    found, _ = tables.ingest_table(here, "sales", END)
    assert found.unmatched == {"shop": 6, "again": 0}
    put_shops(tmp_path, "a", "b", "c")
    tables.ingest_table(here, "shops", END)
    found, changed = tables.ingest_table(here, "sales", END)
    assert not changed and found.unmatched == {"shop": 0, "again": 0}


def test_a_reference_to_a_table_never_ingested(here):
    put(here)
    assert tables.ingest_table(here, "sales", END)[0].unmatched == {"again": 0}  # its gate asks for nothing
    with pytest.raises(
        TableError, match="shop refers to table 'shops', which was never ingested; expected it to be ingested first"
    ):
        tables.ingest_table(gated(here, unmatched=0.5), "sales", END)


def test_counts_are_compared_whatever_as_of(here):
    """An early moment knows fewer rows; the source has as many."""
    here = gated(here, row_change=0.1)
    put(here, 40)
    early, _ = tables.ingest_table(here, "sales", datetime(2013, 5, 2, tzinfo=UTC))
    assert (early.rows_in, early.later) == (40, 36)
    late, _ = tables.ingest_table(here, "sales", END)
    assert (late.rows_in, late.later) == (40, 0)


def test_freshness_is_of_the_moment_asked_for(here):
    here = gated(here, freshness="2d")
    put(here, 40)
    tables.ingest_table(here, "sales", datetime(2013, 5, 12, tzinfo=UTC))
    _, changed = tables.ingest_table(here, "sales", datetime(2013, 5, 12, 12, tzinfo=UTC))
    assert not changed and tables.manifest(here, "sales").as_of.startswith("2013-05-12T12")
    with pytest.raises(TableError, match=r"gate 'freshness': .* 3.96d before 2013-05-14T.*it has no new rows"):
        tables.ingest_table(here, "sales", datetime(2013, 5, 14, 18, tzinfo=UTC))
    with pytest.raises(TableError, match="no row has a known_at up to 2013-04-01"):
        put(here, 41)
        tables.ingest_table(here, "sales", datetime(2013, 4, 1, tzinfo=UTC))


def test_a_wrong_condition_is_found_before_the_source_is_read(here, tmp_path):
    spec = here.tables["sales"].model_copy(update={"rows": {"sane": "amuont > 1"}})
    here = here.model_copy(update={"tables": {"sales": spec}})
    with pytest.raises(ConditionError, match="Table 'sales': the row condition sane: amuont > 1 cannot be used"):
        tables.ingest_table(here, "sales", END)  # there is no file either
