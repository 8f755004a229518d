"""The changes of an ``apply``: the new definitions compared with the registered ones, as small values.

This module uses no Feast and no files. :mod:`feature_repo.definitions.load` reads both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from configs.durations import in_one_unit

__all__ = ["Change", "Definitions", "Effect", "OnDemandDefinition", "ServiceDefinition", "ViewDefinition", "diff"]

#: ``breaks``: a model that uses one of the features cannot be served as it was trained. ``values``: it can, with values
#: computed differently from those of its training. ``safe``: existing features do not change.
Effect = Literal["breaks", "values", "safe"]


@dataclass(frozen=True)
class ViewDefinition:
    """A computed feature view. ``keys`` and ``features``: (name, type). ``ttl`` in seconds, 0 = never expires.

    ``query``: fingerprint of its query; None if that is unknown.
    """

    name: str
    keys: tuple[tuple[str, str], ...]
    features: tuple[tuple[str, str], ...]
    ttl: float
    source: str
    query: str | None = None


@dataclass(frozen=True)
class OnDemandDefinition:
    """An on-demand view. ``inputs``: request fields and ``features``: (name, type). ``text``: of its own function;
    ``code``: fingerprint of that and of its imports from ``feature_repo``, None if that is unknown."""

    name: str
    inputs: tuple[tuple[str, str], ...]
    features: tuple[tuple[str, str], ...]
    text: str
    code: str | None = None


@dataclass(frozen=True)
class ServiceDefinition:
    """A feature service: its features as (view, feature), in its order."""

    name: str
    features: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Definitions:
    """Everything that one ``features.py`` defines, by name."""

    views: Mapping[str, ViewDefinition] = field(default_factory=dict)
    on_demand: Mapping[str, OnDemandDefinition] = field(default_factory=dict)
    services: Mapping[str, ServiceDefinition] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One difference. ``subject`` is the view or service, ``features`` the affected features, as (view, feature).

    ``service`` is set if only models of that feature service are affected.
    """

    kind: str
    subject: str
    effect: Effect
    features: tuple[tuple[str, str], ...] = ()
    before: str | None = None
    after: str | None = None
    service: str | None = None

    def __str__(self) -> str:
        if self.before is not None and self.after is not None:
            return f"{self.subject}: {self.kind}, {self.before} → {self.after}"
        value = self.after if self.before is None else self.before
        return f"{self.subject}: {self.kind}" + ("" if value is None else f", {value}")


def diff(before: Definitions, after: Definitions) -> list[Change]:
    """Every change from ``before`` to ``after``: views, then on-demand views, then services, each by name."""
    return [*_views(before, after), *_on_demand(before, after), *_services(before, after)]


def _available(definitions: Definitions) -> set[tuple[str, str]]:
    """Every feature that a service could use, as (view, feature)."""
    views: list[ViewDefinition | OnDemandDefinition] = [*definitions.views.values(), *definitions.on_demand.values()]
    return {(view.name, feature) for view in views for feature, _ in view.features}


def _views(before: Definitions, after: Definitions) -> Iterator[Change]:
    for name in sorted({*before.views, *after.views}):
        old, new = before.views.get(name), after.views.get(name)
        if old is None:
            yield Change("view added", name, "safe")
            continue
        touched = _of(name, old.features)
        if new is None:
            yield Change("view removed", name, "breaks", touched)
            continue
        if sorted(old.keys) != sorted(new.keys):
            yield Change("join keys changed", name, "breaks", touched, _spell(old.keys), _spell(new.keys))
        yield from _features(name, old.features, new.features)
        if old.ttl != new.ttl:
            # 0 is the longest TTL: such values never expire
            shorter = new.ttl != 0 and (old.ttl == 0 or new.ttl < old.ttl)
            effect: Effect = "breaks" if shorter else "values"
            kind = "TTL shortened" if shorter else "TTL lengthened"
            yield Change(kind, name, effect, touched, _ttl(old.ttl), _ttl(new.ttl))
        if old.source != new.source:
            yield Change("source changed", name, "values", touched, old.source, new.source)
        if None not in (old.query, new.query) and old.query != new.query:
            yield Change("query changed", name, "values", touched)


def _on_demand(before: Definitions, after: Definitions) -> Iterator[Change]:
    for name in sorted({*before.on_demand, *after.on_demand}):
        old, new = before.on_demand.get(name), after.on_demand.get(name)
        if old is None:
            yield Change("on-demand view added", name, "safe")
            continue
        touched = _of(name, old.features)
        if new is None:
            yield Change("on-demand view removed", name, "breaks", touched)
            continue
        yield from _features(name, old.features, new.features)
        if sorted(old.inputs) != sorted(new.inputs):
            yield Change("request fields changed", name, "breaks", touched, _spell(old.inputs), _spell(new.inputs))
        if old.text != new.text or (None not in (old.code, new.code) and old.code != new.code):
            yield Change("on-demand code changed", name, "values", touched)


def _features(view: str, before: tuple[tuple[str, str], ...], after: tuple[tuple[str, str], ...]) -> Iterator[Change]:
    old, new = dict(before), dict(after)
    for name in sorted({*old, *new}):
        if name not in new:
            yield Change("feature removed", view, "breaks", ((view, name),), before=name)
        elif name not in old:
            yield Change("feature added", view, "safe", ((view, name),), after=name)
        elif old[name] != new[name]:
            touched = ((view, name),)
            yield Change("type changed", view, "breaks", touched, f"{name} {old[name]}", f"{name} {new[name]}")


def _services(before: Definitions, after: Definitions) -> Iterator[Change]:
    """Changes of the services themselves: a feature that was removed from or added to a view is that view's change."""
    was, will = _available(before), _available(after)
    for name in sorted({*before.services, *after.services}):
        old, new = before.services.get(name), after.services.get(name)
        if old is None:
            yield Change("service added", name, "safe", service=name)
        elif new is None:
            yield Change("service removed", name, "breaks", old.features, service=name)
        else:
            moves: list[tuple[str, Effect, list[tuple[str, str]]]] = [
                (
                    "service lost",
                    "breaks",
                    [each for each in old.features if each in will and each not in new.features],
                ),
                ("service gained", "safe", [each for each in new.features if each in was and each not in old.features]),
            ]
            for kind, effect, moved in moves:
                if moved:
                    listed = ", ".join(f"{view}:{feature}" for view, feature in moved)
                    yield Change(kind, name, effect, tuple(moved), after=listed, service=name)


def _of(view: str, features: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((view, feature) for feature, _ in features)


def _spell(fields: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in fields) or "none"


def _ttl(seconds: float) -> str:
    return in_one_unit(seconds, exact=True) if seconds else "never expires"
