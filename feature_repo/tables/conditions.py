"""Conditions over the columns of a row, written in SQL and run by DuckDB."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.errors import HeadraceError
from configs.table import Table

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

__all__ = ["ConditionError", "arrow_type", "prove", "unfulfilled"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]


class ConditionError(HeadraceError, ValueError):
    """A row condition cannot be run; the message has the condition and how to fix it."""


def arrow_type(kind: str) -> pa.DataType:
    """The Arrow type of a column of a declared type."""
    import pyarrow as pa

    types = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    return types[kind] if kind in types else pa.timestamp("us", "UTC")


def prove(table: Table, name: str) -> None:
    """Run the row conditions of a table over no rows, so that an invalid one is found before the source is read.

    Raises:
        ConditionError: one is not SQL, names an unknown column or no column, or is not a condition on single rows.
    """
    import duckdb
    import pyarrow as pa

    if not table.rows:
        return
    empty = pa.schema([(column, arrow_type(spec.type)) for column, spec in table.columns.items()]).empty_table()
    with _connection(empty) as connection:
        for rule, condition in table.rows.items():
            try:
                found = connection.sql(f"SELECT ({condition}) AS holds FROM rows").to_arrow_table()
            except duckdb.Error as error:
                raise _refusal(name, rule, condition, str(error).strip().splitlines()[0]) from None
            if not _named(condition, list(table.columns)):
                raise _refusal(name, rule, condition, "it names no column of the table")
            if found.num_columns != 1 or found.num_rows or found.schema.types[0] != pa.bool_():
                kind = found.schema.types[0] if found.num_columns == 1 and not found.num_rows else "something else"
                raise _refusal(name, rule, condition, f"it returns {kind}; expected true or false for one row")


def unfulfilled(frame: pd.DataFrame, table: Table, name: str) -> dict[str, Mask]:
    """Condition → mask of the rows of ``frame`` (typed as declared) that violate it; null counts as a violation.

    Raises:
        ConditionError: DuckDB cannot run one (a division by zero, an overflow).
    """
    import duckdb
    import pyarrow as pa

    if not table.rows:
        return {}
    used = _named(" ".join(table.rows.values()), list(table.columns))
    rows = pa.Table.from_pandas(
        frame[used],
        schema=pa.schema([(column, arrow_type(table.columns[column].type)) for column in used]),
        preserve_index=False,
    )
    said = ", ".join(f"NOT coalesce(({condition}), false)" for condition in table.rows.values())
    with _connection(rows) as connection:
        try:
            found = connection.execute(f"SELECT {said} FROM rows").fetchnumpy()
        except duckdb.Error as error:
            why = str(error).strip().splitlines()[0]
            raise _refusal(name, ", ".join(table.rows), " AND ".join(table.rows.values()), why) from None
    return {rule: np.asarray(mask, dtype=bool) for rule, mask in zip(table.rows, found.values(), strict=True)}


def _connection(rows: pa.Table) -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(config={"enable_external_access": False})
    connection.execute("SET TimeZone = 'UTC'")
    return connection.register("rows", rows)


def _named(condition: str, columns: list[str]) -> list[str]:
    """Columns that a condition may name: words in text constants are included, which only takes more time."""
    return [column for column in columns if re.search(rf"(?<!\w){re.escape(column)}(?!\w)", condition, re.IGNORECASE)]


def _refusal(name: str, rule: str, condition: str, why: str) -> ConditionError:
    return ConditionError(
        f"Table '{name}': the row condition {rule}: {condition} cannot be used: {why.rstrip('.')}; "
        f"correct it in configs/tables/{name}.yaml."
    )
