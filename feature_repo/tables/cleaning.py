"""Clean raw values by the declared rules, and convert columns to their declared types; both count changed values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from configs.table import Table

if TYPE_CHECKING:
    Series: TypeAlias = pd.Series[Any]

__all__ = [
    "clean",
    "DTYPES",
    "coerce",
]


def clean(frame: pd.DataFrame, spec: Table) -> tuple[pd.DataFrame, dict[str, int]]:
    """Trim, replace and clip the values of ``frame`` as ``spec.cleaning`` declares, in that order.

    Works on the source's values, before their types are checked: a value that a rule cannot read is left for the check.
    Deduplication needs all rows at once, so it comes later (:mod:`feature_repo.tables.merging`).

    Returns:
        the frame, and the number of values that each rule changed, such as ``{"trim name": 3, "clip temp": 1}``.

    >>> from configs.table import Cleaning, Column, Source, Table
    >>> name = Column(type="string", nullable=True)
    >>> source = Source(kind="csv", location="x.csv")
    >>> spec = Table(source=source, key=["id"], columns={"id": Column(type="integer"), "name": name},
    ...              cleaning=Cleaning(trim=["name"], replace={"name": {"n/a": None}}))
    >>> clean(pd.DataFrame({"id": [1, 2], "name": [" Ada ", "n/a"]}), spec)[1]
    {'trim name': 1, 'replace name': 1}
    """
    changed: dict[str, int] = {}
    columns: dict[str, Series] = {}
    for rule, name, after, count in _changes(frame, spec, columns):
        changed[f"{rule} {name}"] = count
        if count:
            columns[name] = after
    return (frame.assign(**columns) if columns else frame), changed


def _changes(frame: pd.DataFrame, spec: Table, columns: dict[str, Series]) -> Iterator[tuple[str, str, Series, int]]:
    """Each rule whose column the frame has, applied to the result of the previous rules in ``columns``."""
    rules = spec.cleaning
    for name in rules.trim:
        if name in frame:
            yield "trim", name, *_trim(columns.get(name, frame[name]))
    for name, pairs in rules.replace.items():
        if name in frame:
            text = spec.columns[name].type == "string"
            yield "replace", name, *_replace(columns.get(name, frame[name]), pairs, text)
    for name, (low, high) in rules.clip.items():
        if name in frame:
            yield "clip", name, *_clip(columns.get(name, frame[name]), low, high)


def _trim(column: Series) -> tuple[Series, int]:
    if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return column, 0
    values = column.astype(object)
    distinct = pd.unique(values[values.notna()])
    trimmed = {value: value.strip() or None for value in distinct if isinstance(value, str) and value.strip() != value}
    if any(isinstance(value, str) and not value for value in distinct):
        trimmed[""] = None
    return _mapped(values, trimmed)


def _replace(column: Series, pairs: dict[str, str | float | None], text: bool) -> tuple[Series, int]:
    if text:
        return _mapped(column.astype(object), pairs)
    numbers = pd.to_numeric(column, errors="coerce")
    after: Series = column
    count = 0
    for old, new in pairs.items():
        hit = (numbers == float(old)).to_numpy(dtype=bool, na_value=False)
        if hit.any():
            count += int(hit.sum())
            after = _put(after, hit, new)
    return after, count


def _clip(column: Series, low: float, high: float) -> tuple[Series, int]:
    numbers = pd.to_numeric(column, errors="coerce")
    below = (numbers < low).to_numpy(dtype=bool, na_value=False)
    above = (numbers > high).to_numpy(dtype=bool, na_value=False)
    after: Series = column
    for hit, bound in ((below, low), (above, high)):
        if hit.any():
            after = _put(after, hit, bound)
    return after, int(below.sum() + above.sum())


def _mapped(values: Series, pairs: dict[str, Any]) -> tuple[Series, int]:
    hit = values.isin(list(pairs)) if pairs else pd.Series(False, index=values.index)
    if not hit.any():
        return values, 0
    after = values.copy()
    after[hit] = [pairs[value] for value in values[hit]]
    return after, int(hit.sum())


def _put(column: Series, hit: np.ndarray[Any, np.dtype[np.bool_]], value: float | str | None) -> Series:
    """``column`` with ``value`` where ``hit``; integers stay integers unless a value is fractional or null."""
    whole = isinstance(value, float) and value.is_integer()
    if pd.api.types.is_integer_dtype(column.dtype) and whole:
        after = column.copy()
        after[hit] = int(value)  # type: ignore[arg-type]
        return after
    after = column.astype(float) if pd.api.types.is_float_dtype(column.dtype) else column.astype(object)
    after = after.copy()
    after[hit] = np.nan if value is None else value
    return after


#: Declared type → dtype of a column when the rules are checked.
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
    """Each declared column in its declared type, and column → mask of values that cannot be converted (null then).

    Text is parsed; times without a zone are UTC; numbers are refused as times, and fractions as integers. A number in a
    text column becomes its shortest text.
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
        values = values.astype("Int64")  # integers that became floats because of a gap
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
    for place in np.flatnonzero(whole & ~sure):  # a float is not exact for every integer here
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
