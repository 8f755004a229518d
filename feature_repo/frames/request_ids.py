"""Request ids as text, the form of an id everywhere outside its table.

Tables have ids as whole numbers or as text. Requests, the prediction log, corrections of labels and review queues have
them as text, and code that compares the two first converts the table's ids with these functions.
"""

from __future__ import annotations

from math import isnan
from numbers import Integral
from typing import TYPE_CHECKING, Any
from uuid import UUID

from configs.errors import HeadraceError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RequestIdError", "id_text", "id_texts"]


class RequestIdError(HeadraceError, ValueError):
    """A value is not a valid request id; the message is one sentence."""


def id_text(value: Any) -> str | None:
    """One id as text; None for a null.

    A whole number is written in decimal digits, also if a null in its column has made it a float. A UUID is written in
    lower case with hyphens. Text does not change: ``"007"`` and ``7`` are two ids.

    Raises:
        RequestIdError: it is of another type, or a float too large to be an exact whole number.

    >>> id_text(7), id_text(7.0), id_text("007"), id_text(UUID(int=7)), id_text(float("nan"))
    ('7', '7', '007', '00000000-0000-0000-0000-000000000007', None)
    """
    import pandas as pd

    if isinstance(value, str):
        return str(value)
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and isnan(value)):
        return None
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    raise RequestIdError(
        f"The request id {value!r} is a {type(value).__name__}; expected text, a whole number or a UUID. Declare the "
        "id's column as string or integer in its table's file."
    )


def id_texts(values: pd.Series) -> pd.Series:
    """Ids converted by :func:`id_text`: a series of objects on the same index.

    Raises:
        RequestIdError: an id is not text, a whole number or a UUID.
    """
    return values.astype(object).map(id_text).astype(object)
