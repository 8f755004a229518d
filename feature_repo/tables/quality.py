"""The rules for valid rows of each raw table, and the split of rows into valid and quarantined ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from configs.errors import HeadraceError
from configs.table import Column, Table
from feature_repo.tables.cleaning import DTYPES, coerce
from feature_repo.tables.conditions import unfulfilled

if TYPE_CHECKING:
    import pandera.pandas as pa

    Series: TypeAlias = pd.Series[Any]

__all__ = ["Checked", "TableError", "check", "schema"]

#: A column with at least this many values, none of which can be converted, is an error of the whole table.
_WHOLE = 20
#: pandas' name of a type in a reason.
_SAID = {"integer": "int64", "number": "float64", "boolean": "bool", "time": "datetime64[us, UTC]", "string": "str"}


class TableError(HeadraceError, ValueError):
    """A whole table cannot be used; the message is one sentence. The stored table was not changed."""


@dataclass(frozen=True)
class Checked:
    """Rows split in two: ``valid`` ones, typed; ``refused`` ones unchanged, with a ``reason`` column.

    Both keep the index of the frame they are from.
    """

    valid: pd.DataFrame
    refused: pd.DataFrame


def schema(table: Table, uniqueness: bool = True) -> pa.DataFrameSchema:
    """The pandera schema of a table from its file: columns in any order, and no others.

    Without ``uniqueness`` it has only the rules for values of single, typed rows. Of rows that share a value that must
    be unique, the first passes.
    """
    import pandera.pandas as pa

    columns = {name: _column(column, uniqueness) for name, column in table.columns.items()}
    checks = [pa.Check(_condition(table, rule), name=rule, error=rule) for rule in table.rows] if uniqueness else []
    return pa.DataFrameSchema(
        columns,
        checks=checks,
        strict=True,
        unique=table.key if uniqueness else None,
        report_duplicates="exclude_first",
    )


def _column(column: Column, uniqueness: bool) -> pa.Column:
    import pandera.pandas as pa

    checks = []
    if column.pattern:
        checks.append(pa.Check(_matches(column.pattern), error=f"str_matches('{column.pattern}')"))
    if column.choices:
        checks.append(pa.Check.isin(column.choices, error=f"isin({column.choices})"))
    if column.low is not None and column.high is not None:
        said = f"in_range({column.low:.15g}, {column.high:.15g})"
        checks.append(pa.Check.in_range(column.low, column.high, error=said))
    elif column.low is not None:
        checks.append(pa.Check.ge(column.low, error=f"greater_than_or_equal_to({column.low:.15g})"))
    elif column.high is not None:
        checks.append(pa.Check.le(column.high, error=f"less_than_or_equal_to({column.high:.15g})"))
    return pa.Column(
        DTYPES[column.type],
        checks,
        nullable=column.nullable,
        unique=uniqueness and column.unique,
        report_duplicates="exclude_first",
        coerce=uniqueness and column.type != "string",
    )


def _matches(pattern: str) -> Callable[[Series], Series]:
    """Whether values match ``pattern`` from their start; each distinct value is matched once."""
    match = re.compile(pattern).match

    def check(values: Series) -> Series:
        codes, distinct = pd.factorize(values)
        hits = np.array([found is not None for found in map(match, distinct)], dtype=bool)
        return pd.Series(np.r_[hits, True][codes], index=values.index)  # code -1, null, selects the last element

    return check


def _condition(table: Table, rule: str) -> Callable[[pd.DataFrame], Series]:
    alone = table.model_copy(update={"rows": {rule: table.rows[rule]}})

    def check(frame: pd.DataFrame) -> Series:
        return pd.Series(~unfulfilled(frame, alone, "")[rule], index=frame.index)

    return check


def check(frame: pd.DataFrame, spec: Table, table: str) -> Checked:
    """Split the rows of ``frame`` by the rules of ``spec`` for single rows; every row is in exactly one part.

    Keys and unique columns are compared afterwards, over all valid rows (:mod:`feature_repo.tables.merging`), so
    that an invalid row does not refuse a valid one.

    Raises:
        TableError: the failure is not of single rows: a column is missing, unknown, or has no convertible value.
        ConditionError: a row condition cannot be run.
    """
    absent = [column for column in spec.columns if column not in frame]
    unknown = [str(column) for column in frame if column not in spec.columns]
    if absent or unknown:
        raise TableError(
            f"Table '{table}': "
            + (f"column '{absent[0]}' is missing" if absent else f"column '{unknown[0]}' is not declared")
            + f"; it has {', '.join(map(str, frame.columns))}; fix the source, or configs/tables/{table}.yaml."
        )
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise TableError(f"Table '{table}': column '{twice}' occurs twice; fix the source.")
    index = frame.index
    frame = frame.reset_index(drop=True)
    typed, failed = coerce(frame, spec)
    reasons = _reasons(frame, typed, failed, spec, table)
    bad = np.zeros(len(frame), dtype=bool)
    bad[list(reasons)] = True
    valid = typed if not len(reasons) else typed[~bad]
    valid = valid.astype({name: "int64" for name, column in spec.columns.items() if _whole(column)})
    valid = valid.astype({name: "bool" for name, column in spec.columns.items() if _sure(column)})
    said = pd.Series({row: reasons[row] for row in np.flatnonzero(bad).tolist()}, dtype=object)
    refused = frame[bad].assign(reason=said)
    return Checked(valid.set_axis(index[~bad]), refused.set_axis(index[bad]))


def _whole(column: Column) -> bool:
    return column.type == "integer" and not column.nullable


def _sure(column: Column) -> bool:
    return column.type == "boolean" and not column.nullable


def _reasons(
    frame: pd.DataFrame, typed: pd.DataFrame, failed: dict[str, np.ndarray[Any, Any]], spec: Table, table: str
) -> dict[int, str]:
    """Row → all of its errors."""
    import pandera.errors

    said: dict[int, dict[str, list[str]]] = {}
    for name, lost in failed.items():
        kind = _SAID[spec.columns[name].type]
        if len(frame) >= _WHOLE and lost.sum() == frame[name].notna().sum():
            value = frame[name][lost].iloc[0]
            raise TableError(
                f"Table '{table}', column '{name}': coerce_dtype('{kind}') failed with {value!r} and every other "
                f"value; fix the source, or the column's type in configs/tables/{table}.yaml."
            )
        for row in np.flatnonzero(lost):
            said.setdefault(int(row), {}).setdefault(name, []).append(
                f"{name} = {frame[name].iloc[row]} fails coerce_dtype('{kind}')"
            )
    try:
        schema(spec, uniqueness=False).validate(typed, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        whole = cases[cases["index"].isna()]
        if len(whole):
            raise TableError(
                f"Table '{table}', column '{whole.iloc[0]['column']}': {whole.iloc[0]['check']} failed; fix the "
                f"source, or configs/tables/{table}.yaml."
            ) from None
        for row, name, rule, value in zip(
            cases["index"].astype(int), cases["column"], cases["check"], cases["failure_case"], strict=True
        ):
            if not (name in failed and failed[name][row]):  # null: conversion failed, reported above
                said.setdefault(row, {}).setdefault(name, []).append(f"{name} = {value} fails {rule}")
    unsure = np.zeros(len(frame), dtype=bool)
    for lost in failed.values():
        unsure |= lost
    for name, column in spec.columns.items():
        if spec.rows and not column.nullable:
            unsure |= typed[name].isna().to_numpy()
    for rule, broken in unfulfilled(typed, spec, table).items():
        for row in np.flatnonzero(broken & ~unsure):  # conditions cannot be checked on rows with missing values
            said.setdefault(int(row), {}).setdefault("", []).append(f"row fails {rule}")
    order = [*spec.columns, ""]
    return {
        int(row): "; ".join(text for name in order for text in dict.fromkeys(by_column.get(name, ())))
        for row, by_column in said.items()
    }
