"""Run on-demand views over a request's fields and the stored features that were read for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from feature_repo.online.blocks import Block, frame_of
from feature_repo.online.columns import Arrangement, Columns
from feature_repo.online.service import OnDemand

__all__ = ["compute", "moments"]


def compute(view: OnDemand, rows: pd.DataFrame, arrangement: Arrangement, columns: Columns) -> None:
    """Run one on-demand view's code on ``rows`` and put its features into their columns.

    Its inputs have the types that a training frame gives them: whole numbers with gaps come as float64.
    """
    blocks = [_requested(rows[name], kind, place) for place, (name, kind) in enumerate(view.request.items())]
    blocks += [_held(name, place, arrangement, columns) for place, name in enumerate(view.stored, len(blocks))]
    inputs = frame_of(pd.Index([*view.request, *view.stored]), rows.index, blocks)
    made = view.code(inputs if view.mode == "pandas" else inputs.to_dict("list"))
    for name in view.outputs:
        values = made[name] if isinstance(made[name], pd.Series) else pd.Series(made[name], rows.index)
        if name in arrangement.matrix:
            plain = isinstance(values.dtype, np.dtype) and values.dtype != object
            columns.matrix[:, arrangement.matrix[name]] = (
                values.to_numpy() if plain else values.to_numpy("float64", na_value=np.nan)
            )
        elif name in arrangement.times:
            columns.times[:, arrangement.times[name]] = moments(pd.to_datetime(values, utc=True))
        else:
            words = values.astype(object)
            columns.texts[:, arrangement.texts[name]] = words.where(words.notna(), None).to_numpy()


def moments(times: pd.Series) -> np.ndarray[Any, Any]:
    """Microseconds since 1970; naive times count as UTC."""
    if times.dtype == object:
        times = pd.to_datetime(times, utc=True)
    found: np.ndarray[Any, Any] = times.to_numpy("M8[us]").view(np.int64)
    return found


def _requested(values: pd.Series, kind: str, place: int) -> Block:
    """A request's field as its declared type."""
    if kind == "time":
        if not isinstance(values.dtype, pd.DatetimeTZDtype):
            values = pd.to_datetime(values, utc=True)
        return values.to_numpy("M8[ns]").view(np.int64)[:, None], [place], "ns"
    if kind == "number" or (kind == "integer" and values.isna().any()):
        return values.to_numpy("float64", na_value=np.nan)[:, None], [place], None
    if kind == "integer":
        return values.to_numpy("int64")[:, None], [place], None
    if kind == "boolean" and not values.isna().any():
        return values.to_numpy("bool")[:, None], [place], None
    return values.to_numpy(object)[:, None], [place], None


def _held(name: str, place: int, arrangement: Arrangement, columns: Columns) -> Block:
    """A stored feature; the code gets a copy, as it may write to its inputs."""
    if name in arrangement.matrix:
        return columns.matrix[:, [arrangement.matrix[name]]], [place], None
    if name in arrangement.texts:
        return columns.texts[:, [arrangement.texts[name]]], [place], None
    return columns.times[:, [arrangement.times[name]]], [place], "us"
