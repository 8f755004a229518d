"""Declared mending of raw values, before they are checked; every rule counts the values it changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from configs.table import Table

if TYPE_CHECKING:
    Series: TypeAlias = pd.Series[Any]

__all__ = ["clean"]


def clean(frame: pd.DataFrame, spec: Table) -> tuple[pd.DataFrame, dict[str, int]]:
    """Trim, replace and clip the values of ``frame`` as ``spec.cleaning`` declares, in that order.

    Works on values as they came, before their types are checked: what a rule cannot read is left for the check.
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
    """Each rule whose column the frame has, applied to what the rules before it left in ``columns``."""
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
    mended = {value: value.strip() or None for value in distinct if isinstance(value, str) and value.strip() != value}
    if any(isinstance(value, str) and not value for value in distinct):
        mended[""] = None
    return _mapped(values, mended)


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
    """``column`` with ``value`` where ``hit``; a number that no value makes fractional or null stays an integer."""
    whole = isinstance(value, float) and value.is_integer()
    if pd.api.types.is_integer_dtype(column.dtype) and whole:
        after = column.copy()
        after[hit] = int(value)  # type: ignore[arg-type]
        return after
    after = column.astype(float) if pd.api.types.is_float_dtype(column.dtype) else column.astype(object)
    after = after.copy()
    after[hit] = np.nan if value is None else value
    return after
