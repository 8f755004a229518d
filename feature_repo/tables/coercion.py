"""Bring the columns of a raw frame to their declared types, and say which values have no such form."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from configs.table import Table

if TYPE_CHECKING:
    Series: TypeAlias = pd.Series[Any]

__all__ = ["DTYPES", "coerce"]

#: Declared type → dtype of a column on which the rules are checked.
DTYPES: dict[str, str] = {
    "string": "object",
    "integer": "Int64",
    "number": "float64",
    "boolean": "boolean",
    "time": "datetime64[us, UTC]",
}
_WORDS = {"true": True, "t": True, "1": True, "1.0": True, "false": False, "f": False, "0": False, "0.0": False}
_EXACT = float(2**53)

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def coerce(frame: pd.DataFrame, table: Table) -> tuple[pd.DataFrame, dict[str, Mask]]:
    """Each declared column in its declared type, and column → which of its values have no such form (null then).

    Text is parsed; times without a zone are UTC, times given as bare numbers are refused, as is a fraction where an
    integer is declared. A number in a text column becomes its shortest text.
    """
    columns, failed = {}, {}
    for name, column in table.columns.items():
        values = frame[name]
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype(object)
        typed = _KINDS[column.type](values)
        lost = (typed.isna() & values.notna()).to_numpy(dtype=bool)
        if lost.any():
            failed[name] = lost
        columns[name] = typed
    return pd.DataFrame(columns, index=frame.index), failed


def _text(values: Series) -> Series:
    if pd.api.types.is_float_dtype(values.dtype) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")  # integers that a gap turned into floats
    text = values.astype(object)
    kind = pd.api.types.infer_dtype(text, skipna=True)
    if kind not in ("string", "empty"):
        text = text.map(lambda value: value if isinstance(value, str) or pd.isna(value) else str(value))
    gaps = text.isna()
    return text.where(~gaps, None) if gaps.any() else text


def _number(values: Series) -> Series:
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "fiu":
        return values.astype(float)
    return _numbers(values).astype(float)


def _integer(values: Series) -> Series:
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "i":
        return values.astype("Int64")
    numbers = _numbers(values)
    if pd.api.types.is_integer_dtype(numbers.dtype) and not pd.api.types.is_unsigned_integer_dtype(numbers.dtype):
        return numbers.astype("Int64")
    floats = numbers.astype(float).to_numpy()
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(floats) & (floats == np.floor(floats))
    sure = whole & (np.abs(floats) < _EXACT)
    integers = np.zeros(len(floats), dtype=np.int64)
    integers[sure] = floats[sure].astype(np.int64)
    for place in np.flatnonzero(whole & ~sure):  # a float no longer holds every integer
        try:
            integers[place] = int(str(values.iloc[place]))
        except (ValueError, OverflowError):
            whole[place] = False
    return pd.Series(pd.arrays.IntegerArray(integers, ~whole), index=values.index)


def _numbers(values: Series) -> Series:
    if values.dtype == object and any(value is True or value is False for value in pd.unique(values)):
        values = values.map(lambda value: int(value) if isinstance(value, bool) else value)
    return pd.to_numeric(values, errors="coerce")


def _boolean(values: Series) -> Series:
    if pd.api.types.is_bool_dtype(values.dtype):
        return values.astype("boolean")
    return values.map(lambda value: None if pd.isna(value) else _WORDS.get(str(value).strip().lower())).astype(
        "boolean"
    )


def _time(values: Series) -> Series:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return values.dt.tz_convert("UTC").astype(DTYPES["time"])
    if pd.api.types.is_datetime64_dtype(values.dtype):
        return values.dt.tz_localize("UTC").astype(DTYPES["time"])
    if pd.api.types.is_numeric_dtype(values.dtype):
        return pd.Series(pd.NaT, index=values.index).astype(DTYPES["time"])
    texts = values.astype(object).map(lambda value: None if isinstance(value, int | float) else value)
    return pd.to_datetime(texts, errors="coerce", utc=True, format="ISO8601").astype(DTYPES["time"])


_KINDS: dict[str, Callable[[Series], Series]] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "time": _time,
}
