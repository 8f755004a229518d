"""Values older than their view's TTL: check a model's policy on them, and apply it to frames of features.

Serving, batch scoring and training apply the same rules, so a model is trained on the same values that it is served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.model import Defaults, Expired, ModelSpec
from configs.reading import ConfigError, nearest
from configs.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "check",
    "check_model",
    "defaults",
    "fill",
    "AsServed",
    "retrieve_as_served",
]


def check(
    model: str,
    policies: Mapping[str, Expired],
    views: Mapping[str, Sequence[str]],
    ttls: Mapping[str, float],
    kinds: Mapping[str, str] | None = None,
) -> None:
    """Check a model's ``expired:`` against the views of its feature service.

    Args:
        views: view -> the features of it that the service has.
        ttls: view -> TTL in seconds, 0 for no expiry.
        kinds: feature -> ``string`` or another kind, if that is known.

    Raises:
        ConfigError: an unknown view or feature (the message has the nearest name), a view with no TTL, or a default of
            another type than its feature.
    """
    where = f"models/{model}.yaml: expired.{{}}"
    for view, policy in policies.items():
        if view not in views:
            raise ConfigError(
                f"{where.format(view)}: the model's feature service has no view '{view}' that can expire."
                f"{nearest(view, list(views))} Known: {', '.join(views)}."
            )
        if policy is not None and not ttls[view]:
            raise ConfigError(
                f"{where.format(view)}: view '{view}' has no TTL, so its values never expire; remove the entry, "
                "or give the view a ttl in feature_repo/features.py."
            )
        for feature, value in (policy.default if isinstance(policy, Defaults) else {}).items():
            if feature not in views[view]:
                raise ConfigError(
                    f"{where.format(view)}.default: view '{view}' has no feature '{feature}'."
                    f"{nearest(feature, list(views[view]))} Known: {', '.join(views[view])}."
                )
            text = (kinds or {}).get(feature, "string" if isinstance(value, str) else "number") == "string"
            if text != isinstance(value, str):
                raise ConfigError(
                    f"{where.format(view)}.default.{feature} = {value!r}: expected a {'text' if text else 'number'}, "
                    "the type of the feature."
                )


def check_model(settings: Settings, spec: ModelSpec) -> None:
    """:func:`check` a model against the registered views; does nothing if its YAML has no ``expired``.

    Raises:
        ConfigError: as :func:`check`.
        LookupError: there is no such feature service.
    """
    if not spec.expired:
        return
    from feature_repo.definitions.dependencies import service_views
    from feature_repo.online.layout import layouts

    known = layouts(settings)
    mine = {view: known[view] for view in service_views(settings, spec.feature_service)}
    check(
        spec.name,
        spec.expired,
        {view: list(layout.served) for view, layout in mine.items()},
        {view: layout.ttl for view, layout in mine.items()},
        {name: kind for layout in mine.values() for name, kind in layout.served.items()},
    )


def defaults(policies: Mapping[str, Expired]) -> dict[str, dict[str, float | str]]:
    """View -> feature -> the default for an expired value; empty if no view has defaults."""
    return {view: dict(policy.default) for view, policy in policies.items() if isinstance(policy, Defaults)}


def fill(features: pd.DataFrame, expired: pd.DataFrame, policies: Mapping[str, Expired]) -> None:
    """Write the defaults into ``features`` where ``expired`` (one column of booleans per view, same rows) is true.

    Features that are not a column, and views without defaults, are not changed.
    """
    for view, values in defaults(policies).items():
        where = expired[view].to_numpy(dtype=bool)
        if where.any():
            for feature, value in values.items():
                if feature in features:
                    features.loc[where, feature] = value


@dataclass(frozen=True)
class AsServed:
    """A retrieved frame, row for row: ``rows`` has the requests' columns and the service's features.

    ``ages`` (seconds, NaN if there was no value) and ``expired`` have a column for each view under ``expired`` in the
    model's YAML; ``ttls`` are their TTLs in seconds.
    """

    rows: pd.DataFrame
    ages: pd.DataFrame
    expired: pd.DataFrame
    ttls: dict[str, float]


def retrieve_as_served(settings: Settings, spec: ModelSpec, requests: pd.DataFrame, at: str) -> AsServed:
    """Features of ``requests`` as known at the time in column ``at``, under the model's policy for expired values.

    Defaults are applied; abstaining and refusing is left to the caller. Values of unknown entities stay null.

    Raises:
        ConfigError: the policy names a view or feature that the feature service does not have.
    """
    import pandas as pd

    from feature_repo.definitions.feature_store import retrieve

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
