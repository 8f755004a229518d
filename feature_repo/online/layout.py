"""The layout of one feature view's online values: its keys, its features and their kinds, without importing Feast."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from configs.errors import HeadraceError
from configs.reading import nearest
from configs.settings import Settings
from feature_repo.storage.files import read_json, write_json
from feature_repo.transforms.age import age_feature, is_age

__all__ = [
    "FeatureServiceError",
    "KINDS",
    "LayoutError",
    "ViewLayout",
    "kind_of",
    "layout_of",
    "layouts",
    "project_name",
]

#: Kind of a feature online → the Feast types that are stored as it.
KINDS: dict[str, tuple[str, ...]] = {
    "number": ("Float64", "Float32"),
    "integer": ("Int64", "Int32"),
    "string": ("String",),
    "boolean": ("Bool",),
    "time": ("UnixTimestamp",),
}

#: Feast's name of the entity of a view that has none.
_NO_ENTITY = "__dummy"


class FeatureServiceError(HeadraceError, LookupError):
    """There is no such feature service."""

    @classmethod
    def of(cls, name: str, known: Sequence[str]) -> FeatureServiceError:
        """The error about the service ``name``, with the nearest of the ``known`` names."""
        return cls(
            f"There is no feature service '{name}' in feature_repo/features.py.{nearest(name, list(known))} Known: "
            f"{', '.join(known) or 'none'}. Define it there, and run `headrace apply`."
        )


class LayoutError(HeadraceError, ValueError):
    """The online store cannot store a feature view; the message has the feature, its type and the valid types."""


@dataclass(frozen=True)
class ViewLayout:
    """One feature view in the online store.

    ``join_keys`` are in the order of a key's values; ``features`` are (name, kind) pairs in the view's order, a kind
    being one of :data:`KINDS`; ``ttl`` is in seconds, 0 if values never expire. ``aged``: whether the view also has the
    age of its row as a feature, which is not stored (:mod:`feature_repo.transforms.age`).
    """

    project: str
    view: str
    join_keys: tuple[str, ...]
    features: tuple[tuple[str, str], ...]
    ttl: float
    aged: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The stored features' names, in order."""
        return tuple(name for name, _ in self.features)

    @cached_property
    def age(self) -> str | None:
        """Name of the age of the view's row, if that is a feature."""
        return age_feature(self.view) if self.aged else None

    @cached_property
    def served(self) -> dict[str, str]:
        """Kind of each feature that can be read, the age included."""
        return {**dict(self.features), **({self.age: "number"} if self.age else {})}


def layouts(settings: Settings) -> dict[str, ViewLayout]:
    """Layout of every feature view of features.py, by the view's name.

    Cached as JSON next to the features, by a fingerprint of features.py, because importing Feast takes seconds.

    Raises:
        LayoutError: a feature has a type that the online store cannot store.
    """
    definitions = Path(__file__).parents[1] / "features.py"
    fingerprint = hashlib.blake2b(definitions.read_bytes() + Path(__file__).read_bytes(), digest_size=8).hexdigest()
    project = project_name(settings)
    path = settings.home / "features" / "layouts.json"
    held = read_json(path)
    if not held or held["definitions"] != fingerprint:
        from feast import Entity, FeatureView

        from feature_repo import features

        declared = list(vars(features).values())
        entities = {each.name: each.join_key for each in declared if isinstance(each, Entity)}
        found = [
            layout_of(project, each, [entities[name] for name in each.entities if name != _NO_ENTITY])
            for each in declared
            if isinstance(each, FeatureView)
        ]
        held = {
            "definitions": fingerprint,
            "views": {
                each.view: {
                    "join_keys": each.join_keys,
                    "features": each.features,
                    "ttl": each.ttl,
                    "aged": each.aged,
                }
                for each in found
            },
        }
        write_json(path, held)
    return {
        name: ViewLayout(
            project,
            name,
            tuple(view["join_keys"]),
            tuple((feature, kind) for feature, kind in view["features"]),
            float(view["ttl"]),
            view["aged"],
        )
        for name, view in held["views"].items()
    }


def layout_of(project: str, view: Any, join_keys: Iterable[str]) -> ViewLayout:
    """Layout of one of Feast's ``FeatureView`` objects.

    Its join keys are in alphabetical order, because a view in the registry has no order of declaration.

    Raises:
        LayoutError: a feature has a type that the online store cannot store, or the view declares none.
    """
    if not view.features:
        raise LayoutError(f"Feature view '{view.name}' declares no features; give it a schema in features.py.")
    stored = [field for field in view.features if not is_age(field)]
    return ViewLayout(
        project=project,
        view=view.name,
        join_keys=tuple(sorted(join_keys)),
        features=tuple((field.name, kind_of(view.name, field.name, str(field.dtype))) for field in stored),
        ttl=view.ttl.total_seconds() if view.ttl else 0.0,
        aged=len(stored) < len(view.features),
    )


def kind_of(view: str, feature: str, dtype: str) -> str:
    """Kind of a Feast type, by the type's name.

    Raises:
        LayoutError: no kind fits.
    """
    for kind, types in KINDS.items():
        if dtype in types:
            return kind
    known = ", ".join(name for types in KINDS.values() for name in types)
    raise LayoutError(
        f"Feature '{feature}' of view '{view}' has the type {dtype}, which the online store cannot store; "
        f"declare one of {known} in feature_repo/features.py."
    )


def project_name(settings: Settings) -> str:
    """Feast's project, from the environment's feature_store.yaml."""
    import yaml

    text = str(yaml.safe_load(settings.feast_yaml.read_text(encoding="utf-8"))["project"])
    variables = settings.variables()
    return re.sub(r"\$\{?(\w+)\}?", lambda found: variables.get(found[1], found[0]), text)
