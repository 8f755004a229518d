"""Read the definitions of ``features.py``, and those in Feast's registry, into :class:`plan.Definitions`."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from configs.errors import HeadraceError
from configs.reading import nearest
from feature_repo.definitions.plan import Definitions, OnDemandDefinition, ServiceDefinition, ViewDefinition
from feature_repo.storage.code_files import code_fingerprint, imported_files, imported_modules
from feature_repo.transforms.age import age_feature, is_age

if TYPE_CHECKING:
    from feast import FeatureStore

__all__ = ["DefinitionError", "feast_objects", "features_module", "fingerprint", "registered", "written"]

#: The module with all Feast objects.
_FEATURES = "feature_repo.features"

#: Columns of training frames, reference rows and feature files that are not features; no feature may have these names.
RESERVED = frozenset({"event_timestamp", "id", "known_at", "label", "label_known_at", "prediction_time", "score"})
#: Suffixes of the time columns that a retrieval returns for each view.
RESERVED_ENDINGS = ("__event_timestamp", "__known_at")


class DefinitionError(HeadraceError, ValueError):
    """``features.py`` cannot be used; the message is one sentence."""


def features_module() -> ModuleType:
    """Import ``feature_repo.features``; this registers nothing.

    Raises:
        DefinitionError: it cannot be imported.
    """
    try:
        return import_module(_FEATURES)
    except Exception as error:
        raise DefinitionError(
            f"feature_repo/features.py cannot be read: {type(error).__name__}: {error}; nothing was changed."
        ) from error


def fingerprint(module: ModuleType | None = None, *others: Path) -> str:
    """Fingerprint of all sources of the definitions: the definitions' file, the transforms and ``others``.

    Does not import the module, so that a check for changes takes milliseconds.
    """
    folder = Path(__file__).parents[1]
    own = Path(module.__file__ or "") if module else folder / "features.py"
    digest = hashlib.blake2b(digest_size=8)
    for path in (own, *sorted((folder / "transforms").rglob("*.py")), *others):
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def feast_objects(module: ModuleType) -> list[Any]:
    """The Feast objects of a module, each once: entities, sources, views, on-demand views, services."""
    from feast import Entity, FeatureService, FeatureView, OnDemandFeatureView
    from feast.data_source import DataSource

    kinds = (Entity, DataSource, FeatureView, OnDemandFeatureView, FeatureService)
    found = {id(each): each for each in vars(module).values() if isinstance(each, kinds)}
    return list(found.values())


def written(module: ModuleType, queries: Mapping[str, str] | None = None) -> Definitions:
    """The definitions of ``module``.

    Args:
        module: ``feature_repo.features``, or one like it.
        queries: view → fingerprint of its query. If given, every view must have a query, and every query a view.

    Raises:
        DefinitionError: two objects share a name, an entity is unknown or has no type, a view has no features, a
            feature has a reserved name or that of an age, or views and queries do not match.
    """
    from feast import Entity, FeatureService, FeatureView, OnDemandFeatureView

    objects: list[Any] = feast_objects(module)
    views = _named(module, objects, FeatureView, "feature view")
    on_demand = _named(module, objects, OnDemandFeatureView, "on-demand feature view")
    services = _named(module, objects, FeatureService, "feature service")
    entities = _named(module, objects, Entity, "entity")
    _match(module, views.keys(), queries)
    found = _definitions(views.values(), on_demand.values(), services.values())
    for name, view in found.views.items():
        if not view.features:
            raise DefinitionError(f"Feature view '{name}' of {_file(module)} declares no features; give it a schema.")
    given = {name: view.features for name, view in found.views.items()}
    given |= {name: view.features for name, view in found.on_demand.items()}
    for name, features in given.items():
        for feature, _ in features:
            if feature in RESERVED or feature.endswith(RESERVED_ENDINGS):
                raise DefinitionError(
                    f"The feature '{feature}' of view '{name}' of {_file(module)} has a reserved name; rename it, for "
                    f"example to '{name}_{feature.strip('_')}'. Reserved: {', '.join(sorted(RESERVED))}, and names "
                    f"that end in {' or '.join(RESERVED_ENDINGS)}."
                )
    _check_ages(module, [*views.values(), *on_demand.values()], {age_feature(view): view for view in views})
    return replace(
        found,
        views={
            name: replace(view, keys=_keys(module, views[name], entities), query=(queries or {}).get(name))
            for name, view in found.views.items()
        },
        on_demand={
            name: replace(view, code=_code(on_demand[name].feature_transformation.udf_string))
            for name, view in found.on_demand.items()
        },
    )


def _named(module: ModuleType, objects: Iterable[Any], kind: type, word: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in objects:
        if isinstance(each, kind):
            if each.name in found:  # type: ignore[attr-defined]
                raise DefinitionError(f"{_file(module)} has the {word} '{each.name}' twice; rename one.")  # type: ignore[attr-defined]
            found[each.name] = each  # type: ignore[attr-defined]
    return found


def _check_ages(module: ModuleType, views: Iterable[Any], ages: Mapping[str, str]) -> None:
    """Check that the age of a view is a feature of that view only, by its switch; ``ages``: name of the age → view."""
    for view in views:
        for field in view.features:
            own = field.name == age_feature(view.name)
            if is_age(field) and not own:
                raise DefinitionError(
                    f"View '{view.name}' of {_file(module)} has the age '{field.name}' of another view; write "
                    f"age('{view.name}') in its schema."
                )
            if field.name in ages and not is_age(field):
                also = f", or write age('{view.name}') in the schema to have it computed" if own else ""
                raise DefinitionError(
                    f"The feature '{field.name}' of view '{view.name}' of {_file(module)} has the name of the age of "
                    f"view '{ages[field.name]}'; rename it{also}."
                )


def _match(module: ModuleType, views: Collection[str], queries: Mapping[str, str] | None) -> None:
    """Check that every view has a query and every query a view, if queries are given."""
    if queries is None:
        return
    for name in sorted(views):
        if name not in queries:
            raise DefinitionError(
                f"Feature view '{name}' of {_file(module)} has no query; add it to VIEWS in feature_repo/transforms, "
                "or remove the view."
            )
    for name in sorted(queries):
        if name not in views:
            raise DefinitionError(
                f"The query '{name}' of feature_repo/transforms has no feature view in {_file(module)}; define it "
                "there, or remove the query."
            )


def _keys(module: ModuleType, view: Any, entities: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Join keys of a view that is not registered yet: Feast sets them from the entities at registration."""
    from feast import ValueType
    from feast.feature_view import DUMMY_ENTITY_NAME
    from feast.types import from_value_type

    found = dict(_fields(view.entity_columns))
    for name in view.entities:
        if name == DUMMY_ENTITY_NAME:
            continue
        if name not in entities:
            raise DefinitionError(
                f"Feature view '{view.name}' names the entity '{name}', which {_file(module)} does not have."
                f"{nearest(name, list(entities))}"
            )
        entity = entities[name]
        if entity.value_type == ValueType.UNKNOWN and entity.join_key not in found:
            raise DefinitionError(
                f"Entity '{name}' of {_file(module)} has no type; add value_type=ValueType.STRING, or its actual type."
            )
        found.setdefault(entity.join_key, str(from_value_type(entity.value_type)))
    return tuple(found.items())


def registered(
    store: FeatureStore, queries: Mapping[str, str] | None = None, code: Mapping[str, str] | None = None
) -> Definitions:
    """The definitions in the registry of ``store``.

    ``queries`` and ``code``: fingerprints of the views' queries and of the on-demand views' code, which Feast does not
    store.
    """
    found = _definitions(
        store.list_feature_views(), store.list_on_demand_feature_views(), store.list_feature_services()
    )
    views = {name: replace(view, query=(queries or {}).get(name)) for name, view in found.views.items()}
    on_demand = {name: replace(view, code=(code or {}).get(name)) for name, view in found.on_demand.items()}
    return replace(found, views=views, on_demand=on_demand)


def _definitions(views: Iterable[Any], on_demand: Iterable[Any], services: Iterable[Any]) -> Definitions:
    return Definitions(
        {view.name: _view(view) for view in views},
        {view.name: _on_demand(view) for view in on_demand},
        {
            service.name: ServiceDefinition(
                service.name,
                tuple(
                    (each.name, feature.name) for each in service.feature_view_projections for feature in each.features
                ),
            )
            for service in services
        },
    )


def _view(view: Any) -> ViewDefinition:
    source = view.batch_source
    times = ", ".join(filter(None, [source.timestamp_field, source.created_timestamp_column]))
    return ViewDefinition(
        name=view.name,
        keys=tuple(
            each for each in _fields(view.entity_columns) if not each[0].startswith("__")
        ),  # Feast's entity for views with none
        features=_fields(view.features),
        ttl=view.ttl.total_seconds() if view.ttl else 0.0,
        source=f"{getattr(source, 'path', None) or source.name} ({times})",
    )


def _on_demand(view: Any) -> OnDemandDefinition:
    text = view.feature_transformation.udf_string
    return OnDemandDefinition(
        name=view.name,
        inputs=tuple(field for source in view.source_request_sources.values() for field in _fields(source.schema)),
        features=_fields(view.features),
        text=hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
    )


def _fields(fields: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    return tuple((each.name, str(each.dtype)) for each in fields)


def _code(text: str) -> str:
    """Fingerprint of a function's text and of the modules of ``feature_repo`` that it imports, and of their imports.

    An on-demand view often only calls a function in another module, whose text is not in the registry.
    """
    return code_fingerprint(imported_files(imported_modules(text), ("configs*",)), text)


def _file(module: ModuleType) -> str:
    return f"{module.__name__.replace('.', '/')}.py"
