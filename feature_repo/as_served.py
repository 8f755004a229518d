"""Features of the past as the endpoint would have served them: with a model's defaults for expired values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.expired import check_model, fill

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AsServed", "retrieve_as_served"]


@dataclass(frozen=True)
class AsServed:
    """A retrieved frame, row for row: ``rows`` has the requests' columns and the service's features.

    ``ages`` (seconds, NaN where there was no value) and ``expired`` have a column for each view that the model's YAML
    names under ``expired``; ``ttls`` their TTLs in seconds.
    """

    rows: pd.DataFrame
    ages: pd.DataFrame
    expired: pd.DataFrame
    ttls: dict[str, float]


def retrieve_as_served(settings: Settings, spec: ModelSpec, requests: pd.DataFrame, at: str) -> AsServed:
    """Features of ``requests`` as known at the time in column ``at``, under the model's policy for expired values.

    Defaults are written in; abstaining and refusing is left to the caller. An entity never seen stays null.

    Raises:
        ConfigError: the policy names what the feature service does not have.
    """
    import pandas as pd

    from feature_repo.store import retrieve

    check_model(settings, spec)
    views = [view for view, policy in spec.expired.items() if policy is not None]
    if not views:
        none = pd.DataFrame(index=requests.index)
        return AsServed(retrieve(settings, spec.feature_service, requests, at=at), none, none, {})
    from feature_repo.online.layout import layouts

    rows = retrieve(settings, spec.feature_service, requests, at=at, event_times=True)
    moments = pd.to_datetime(rows[at], utc=True)
    ages = pd.DataFrame({view: (moments - rows[f"{view}__event_timestamp"]).dt.total_seconds() for view in views})
    ttls = {view: layouts(settings)[view].ttl for view in views}
    expired = ages.gt(pd.Series(ttls))
    rows = rows[[name for name in rows.columns if not name.endswith(("__event_timestamp", "__known_at"))]].copy()
    fill(rows, expired, spec.expired)
    return AsServed(rows, ages, expired, ttls)
