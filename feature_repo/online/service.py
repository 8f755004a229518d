"""The parts of one feature service of features.py: stored views, and on-demand code over them and the request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from configs.settings import Settings
from feature_repo.online.layout import KINDS, FeatureServiceError, LayoutError, ViewLayout, layouts
from feature_repo.storage.feast_import import import_feast

__all__ = ["OnDemand", "Service", "feature_service"]


@dataclass(frozen=True)
class OnDemand:
    """One on-demand view: ``code`` takes and returns a frame (mode ``pandas``) or lists by name (mode ``python``).

    ``request`` has the kind of each input from the request, ``stored`` the stored features that it reads,
    ``outputs`` the kind of each feature that the service uses.
    """

    name: str
    mode: str
    code: Callable[[Any], Any]
    request: dict[str, str]
    stored: list[str]
    outputs: dict[str, str]


@dataclass(frozen=True)
class Service:
    """A feature service: its features in order, and its features by stored view.

    ``read`` also has features that only on-demand code reads.
    """

    name: str
    features: list[str]
    views: dict[str, ViewLayout]
    view_features: dict[str, list[str]]
    read: dict[str, list[str]]
    on_demand: list[OnDemand]


def feature_service(settings: Settings, name: str) -> Service:
    """The feature service ``name`` of features.py.

    Raises:
        FeatureServiceError: there is none.
        LayoutError: it uses a type or view that cannot be read online.
    """
    import_feast()
    from feast import FeatureService
    from feast.on_demand_feature_view import OnDemandFeatureView

    from feature_repo import features as definitions

    declared = list(vars(definitions).values())
    services = {each.name: each for each in declared if isinstance(each, FeatureService)}
    on_demand = {each.name: each for each in declared if isinstance(each, OnDemandFeatureView)}
    if name not in services:
        raise FeatureServiceError.of(name, list(services))
    held = layouts(settings)
    found = Service(name, [], {}, {}, {}, [])
    for projection in services[name].feature_view_projections:
        if projection.name_alias or projection.join_key_map:
            raise LayoutError(
                f"Feature service '{name}' uses view '{projection.name}' under another name or with other join keys, "
                "which cannot be read online; define a separate view for that in features.py."
            )
        names = [field.name for field in projection.features]
        found.features.extend(names)
        if projection.name in on_demand:
            found.on_demand.append(_on_demand(on_demand[projection.name], projection.features))
        else:
            found.view_features[projection.name] = names
    twice = sorted({feature for feature in found.features if found.features.count(feature) > 1})
    if twice:
        raise LayoutError(
            f"Feature service '{name}' has {', '.join(twice)} from more than one view; rename one of each."
        )
    found.read.update({view: list(names) for view, names in found.view_features.items()})
    for each in services[name].feature_view_projections:
        if each.name in on_demand:
            for source in on_demand[each.name].source_feature_view_projections.values():
                wanted = found.read.setdefault(source.name, [])
                wanted.extend(field.name for field in source.features if field.name not in wanted)
    found.views.update({view: held[view] for view in found.read})
    return found


def _on_demand(view: Any, outputs: Any) -> OnDemand:
    request = [field for source in view.source_request_sources.values() for field in source.schema]
    stored = [field.name for source in view.source_feature_view_projections.values() for field in source.features]
    mode = str(getattr(view.mode, "value", view.mode))
    if mode not in ("pandas", "python") or getattr(view, "singleton", False):
        raise LayoutError(
            f"On-demand view '{view.name}' is of mode '{mode}'{', singleton' if mode == 'python' else ''}, which "
            "cannot be computed online; use mode='pandas', or mode='python' over lists."
        )
    return OnDemand(view.name, mode, view.feature_transformation.udf, _kinds(request), stored, _kinds(outputs))


def _kinds(fields: Any) -> dict[str, str]:
    """Kind of each field; ``other`` for a type that is passed through unchanged."""
    kinds = {dtype: kind for kind, types in KINDS.items() for dtype in types}
    return {field.name: kinds.get(str(field.dtype), "other") for field in fields}
