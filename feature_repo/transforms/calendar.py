"""Calendar and schedule features, from a request alone."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from feature_repo.transforms.rolling import TransformError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["calendar_features"]


def calendar_features(inputs: pd.DataFrame) -> pd.DataFrame:
    """Calendar and schedule features of requests.

    ``inputs``: ``scheduled_departure`` and ``scheduled_arrival``, times or seconds since 1970 (UTC).
    Returns integers except ``scheduled_minutes``; ``days_to_holiday`` to the nearest US federal one, at most 10.
    """
    import numpy as np
    import pandas as pd

    departure = _times(inputs["scheduled_departure"])
    arrival = _times(inputs["scheduled_arrival"])
    if missing := int(departure.isna().sum()):
        raise TransformError(f"scheduled_departure is missing in {missing} of {len(departure)} requests.")
    # wall-clock seconds since 1970, by integers: pandas' own fields take a quarter of a millisecond for one row
    seconds = departure.tz_convert("America/New_York").tz_localize(None).to_numpy("M8[s]").view("i8")
    days, of_day = np.divmod(seconds, 86_400)
    distance = np.full(len(days), 10)
    if len(days):
        years = days[[days.argmin(), days.argmax()]].view("M8[D]").astype("M8[Y]").view("i8") + 1970
        holidays = _holidays(int(years[0]) - 1, int(years[1]) + 1)
        after = np.clip(np.searchsorted(holidays, days), 0, len(holidays) - 1)
        gaps = [np.abs(days - holidays[index]) for index in (np.clip(after - 1, 0, None), after)]
        distance = np.minimum(np.minimum(*gaps), 10)
    features = {
        "hour_of_day": of_day // 3_600,
        "minute_of_day": of_day // 60,
        "day_of_week": (days + 3) % 7,  # 1 January 1970 was a Thursday
        "days_to_holiday": distance,
        "scheduled_minutes": (arrival - departure).total_seconds() / 60,
    }
    return pd.DataFrame(features, index=inputs.index, copy=False)


@lru_cache(maxsize=32)
def _holidays(first: int, last: int) -> np.ndarray[Any, Any]:
    """The US federal holidays of these years, as days since 1970; cached, because computing them takes milliseconds."""
    from pandas.tseries.holiday import USFederalHolidayCalendar

    found = USFederalHolidayCalendar().holidays(f"{first}-01-01", f"{last}-12-31")
    days: np.ndarray[Any, Any] = found.to_numpy().astype("M8[D]").view("i8")
    return days


def _times(values: pd.Series) -> Any:
    """Times in UTC, as a pandas array."""
    import pandas as pd

    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return values.array.tz_convert("UTC")
    seconds = pd.api.types.is_numeric_dtype(values)
    return pd.to_datetime(values, utc=True, unit="s" if seconds else None).array
