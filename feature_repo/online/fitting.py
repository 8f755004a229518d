"""Fit the columns of a table to the kinds that a view declares, without loss, or say in a sentence why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.online.values import OnlineError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["column_of", "fit", "times_of"]

#: Event times that pandas can hold in nanoseconds: 1677 to 2262.
_MOST_MICROSECONDS = (2**63 - 1) // 1000


def column_of(view: str, rows: pa.Table, name: str) -> pa.Array:
    """One column in one piece.

    Raises:
        OnlineError: there is none.
    """
    import pyarrow as pa

    if name not in rows.column_names:
        raise OnlineError(
            f"View '{view}' cannot be brought online: column '{name}' is missing from its rows, which have "
            f"{', '.join(rows.column_names) or 'no columns'}; compute the view again."
        )
    found = rows[name].combine_chunks()
    return pa.concat_arrays(found.chunks) if isinstance(found, pa.ChunkedArray) else found


def times_of(view: str, rows: pa.Table, name: str, default: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
    """A time column as microseconds since 1970; ``default`` where it is null.

    Raises:
        OnlineError: it is missing, no time, null without a ``default``, or out of pandas' range.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = fit(view, name, "time", column_of(view, rows, name)).cast(pa.int64())
    if column.null_count:
        if default is None:
            raise OnlineError(
                f"View '{view}' cannot be brought online: {column.null_count} of {len(column)} rows have no {name}; "
                "leave such rows out of the view's query."
            )
        column = pc.coalesce(column, pa.array(default))
    if len(column) and max(abs(bound) for bound in pc.min_max(column).as_py().values()) > _MOST_MICROSECONDS:
        raise OnlineError(
            f"View '{view}' cannot be brought online: {name} holds a time outside the years 1677 to 2262; "
            "leave such rows out of the view's query."
        )
    found: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return found


def fit(view: str, name: str, kind: str, column: pa.Array) -> pa.Array:
    """A column as the Arrow type of its kind.

    Raises:
        OnlineError: it cannot be without loss.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    types = pa.types
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    given = column.type
    floating = types.is_floating(given)
    wanted, fits = {
        "number": (
            pa.float64(),
            floating or types.is_integer(given) or types.is_boolean(given) or types.is_decimal(given),
        ),
        "integer": (pa.int64(), floating or types.is_integer(given) or types.is_boolean(given)),
        "string": (pa.string(), types.is_string(given) or types.is_large_string(given) or types.is_string_view(given)),
        "boolean": (pa.bool_(), types.is_boolean(given)),
        "time": (pa.timestamp("us", "UTC"), types.is_timestamp(given) or types.is_date(given)),
    }[kind]
    if given == wanted:
        return column
    try:
        if not fits and not types.is_null(given):
            raise pa.ArrowInvalid(f"it is of type {given}")
        if kind == "integer" and floating:  # pandas keeps whole numbers with gaps as floats
            column = pc.if_else(pc.is_nan(column), None, column)
        nanoseconds = types.is_timestamp(given) and given.unit == "ns"
        if types.is_timestamp(given) and given.tz is not None:
            column = column.cast(pa.timestamp(given.unit, "UTC"))
        return column.cast(wanted, safe=not nanoseconds)
    except pa.ArrowInvalid as error:
        raise OnlineError(
            f"View '{view}' cannot be brought online: column '{name}' is declared as {kind}, but {error}; "
            "correct its type in feature_repo/features.py or the view's query."
        ) from error
