"""Features of a card payment from its request alone."""

from __future__ import annotations

import pandas as pd

__all__ = ["purchase_features"]


def purchase_features(inputs: pd.DataFrame) -> pd.DataFrame:
    """Features from the request itself.

    ``inputs``: ``amount`` in US dollars, ``channel``, and ``authorized_at``, times or seconds since 1970 (UTC).
    Returns the first two unchanged, the hour, the weekday (Monday is 0), and 1 from 22 to 6 o'clock, else 0.
    """
    seconds = pd.api.types.is_numeric_dtype(inputs["authorized_at"])
    moment = pd.to_datetime(inputs["authorized_at"], utc=True, unit="s" if seconds else None)
    hour = moment.dt.hour.astype("int64")
    return pd.DataFrame(
        {
            "purchase_amount": inputs["amount"].astype("float64"),
            "purchase_channel": inputs["channel"],
            "purchase_hour": hour,
            "purchase_weekday": moment.dt.dayofweek.astype("int64"),
            "purchase_at_night": ((hour >= 22) | (hour < 6)).astype("int64"),
        },
        index=inputs.index,
    )
