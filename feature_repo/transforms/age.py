"""The age of a feature view's row as a feature: the hours from the row's event time to the prediction time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from feast import Field

__all__ = ["age", "age_feature", "age_hours", "is_age"]

_TAGS = {"headrace": "age"}
_MISSING = np.iinfo(np.int64).min
_HOUR = 3_600_000_000


def age(view: str) -> Field:
    """The switch: in the schema of the feature view ``view`` it adds the feature ``<view>_age_hours``.

    The view's query does not return it. It is computed whenever features are read (:func:`age_hours`), and is missing
    where the view has no row, or one older than its TTL.

    >>> age("plane_stats").name
    'plane_stats_age_hours'
    """
    from feast import Field
    from feast.types import Float64

    what = "Hours from the event time of the row to the prediction time"
    return Field(name=age_feature(view), dtype=Float64, description=what, tags=_TAGS)


def age_feature(view: str) -> str:
    """Name of the age of a view's row."""
    return f"{view}_age_hours"


def is_age(field: Any) -> bool:
    """Whether a field of Feast was made by :func:`age`."""
    return bool(field.tags.get("headrace") == "age")


def age_hours(at: Any, event: Any) -> np.ndarray[Any, Any]:
    """Hours from ``event`` to ``at``: whole microseconds, int64 of one shape; NaN where either is the lowest integer.

    All readers of features use this function, so that an age is the same float64 offline and online. A row of the
    future has the age 0: the online store may be ahead of a request that gives an earlier ``as_of``.

    >>> age_hours(np.array([7_200_000_000, 0]), np.array([1_800_000_000, 1]))
    array([1.5, 0. ])
    """
    at, event = np.asarray(at, np.int64), np.asarray(event, np.int64)
    hours: np.ndarray[Any, Any] = np.maximum(at - event, 0) / _HOUR
    return np.where((at == _MISSING) | (event == _MISSING), np.nan, hours)
