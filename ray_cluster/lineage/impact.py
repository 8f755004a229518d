"""Impact of changed definitions on registered versions and live applications, per change.

A version uses a feature if its model's service has it and the version's feature list names it. If MLflow is not
running, every feature of the service counts as used; a plan errs on the side of protecting the live model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from configs import load_model, model_names
from configs.errors import HeadraceError
from configs.settings import Settings
from feature_repo.definitions.apply import Check, Pending
from feature_repo.definitions.plan import Change, Definitions
from ray_cluster import registry
from ray_cluster.serving.rollout import ServeError
from ray_cluster.serving.serve_api import GATEWAY, details, facts_of

__all__ = ["ImpactReport", "LiveModelError", "Impact", "Dependent", "impact_of", "guard", "dependents"]

#: Number of the newest versions per model that are checked, in addition to live versions and versions with an alias.
_NEWEST = 10


class LiveModelError(HeadraceError, RuntimeError):
    """The change would break a live model; the message has the view, the change, the model and how to fix it."""


@dataclass(frozen=True)
class Dependent:
    """A model version that uses features of ``service``.

    ``version`` is None if it is unknown, ``features`` is None if all features of the service count. ``live``: it
    answers requests, or will answer when Serve is running again. ``note`` says what is unknown and why.
    """

    model: str
    service: str
    version: int | None
    live: bool
    aliases: tuple[str, ...] = ()
    features: frozenset[str] | None = None
    note: str = ""

    def __str__(self) -> str:
        version = "of unknown version" if self.version is None else f"version {self.version}"
        marks = ", ".join([*self.aliases, *(["live"] if self.live else [])])
        return f"{self.model} {version}" + (f" ({marks})" if marks else "")

    def takes(self, change: Change, before: Definitions) -> bool:
        """Whether the version uses a feature that the change affects."""
        if change.service not in (None, self.service) or self.service not in before.services:
            return False
        taken = before.services[self.service].features
        return any(each in taken and (self.features is None or each[1] in self.features) for each in change.features)


@dataclass(frozen=True)
class Impact:
    """One change and the versions that use what it affects."""

    change: Change
    dependents: tuple[Dependent, ...]

    @property
    def breaks(self) -> bool:
        """Whether the change breaks any version."""
        return self.change.effect == "breaks" and bool(self.dependents)


@dataclass(frozen=True)
class ImpactReport:
    """All effects of an apply on model versions. ``notes``: what could not be determined, and why."""

    impacts: tuple[Impact, ...]
    removed: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def breaks(self) -> bool:
        """Whether some registered version is broken by some change."""
        return any(impact.breaks for impact in self.impacts)

    @property
    def warnings(self) -> list[str]:
        """A sentence for each change that affects a live model."""
        found = []
        for impact in self.impacts:
            if live := [str(taker) for taker in impact.dependents if taker.live]:
                how = "breaks" if impact.breaks else "changes feature values of"
                found.append(f"{impact.change}: {how} {', '.join(live)}")
        return found

    @property
    def refusals(self) -> list[tuple[Change, Dependent]]:
        """The changes that break live models, with the models; an apply refuses them."""
        return [
            (impact.change, taker)
            for impact in self.impacts
            if impact.breaks
            for taker in impact.dependents
            if taker.live
        ]

    def refusal(self) -> str | None:
        """The reason why an apply is refused, in one sentence, or None."""
        found = self.refusals
        if not found:
            return None
        change, taker = found[0]
        others = len({str(each) for each, _ in found}) - 1
        more = f" ({others} more: `headrace plan`)" if others else ""
        takes = "may use" if taker.note else "uses"
        reason = f" ({taker.note})" if taker.note else ""
        return (
            f"Nothing was applied: {change}, which the live model {taker} {takes}{reason}{more}; revert the change, "
            "deploy a version that does not need it, or apply anyway with `headrace apply --force`."
        )


def impact_of(settings: Settings, waiting: Pending) -> ImpactReport:
    """Versions that use what ``waiting`` would change; queries MLflow and Serve only if something is affected."""
    if all(change.effect == "safe" for change in waiting.changes):
        return ImpactReport(tuple(Impact(change, ()) for change in waiting.changes), tuple(waiting.removed))
    known, notes = dependents(settings)
    impacts = tuple(
        Impact(
            change,
            tuple(each for each in known if change.effect != "safe" and each.takes(change, waiting.before)),
        )
        for change in waiting.changes
    )
    return ImpactReport(impacts, tuple(waiting.removed), tuple(notes))


def guard(settings: Settings, force: bool, show: Callable[[ImpactReport], Any]) -> Check:
    """A check for :func:`feature_repo.definitions.feature_store.apply` that protects live models unless forced.

    ``show`` is called with the report, before the apply is refused or continues.
    """

    def check(waiting: Pending) -> None:
        found = impact_of(settings, waiting)
        show(found)
        reason = found.refusal()
        if reason and not force:
            raise LiveModelError(reason)

    return check


def dependents(settings: Settings) -> tuple[list[Dependent], list[str]]:
    """Every version that is live, has an alias or is among the newest of its model, and notes on failed queries."""
    serving, source = _serving(settings)
    serve_up, known_live = source == "answered", source != "unknown"
    mlflow_up = _answers(f"{settings.url('mlflow')}/health")
    notes = {
        "answered": [],
        "kept": ["Serve is not running: its last configuration counts as live"],
        "unknown": ["Serve is not running and has no configuration here: every champion counts as live"],
    }[source]
    if not mlflow_up:
        notes.append("MLflow is not running: every feature of a model's service counts as used")
    services = {name: load_model(name).feature_service for name in model_names()}
    services |= {name: service for name, (service, _) in serving.items()}
    found: list[Dependent] = []
    for model, service in sorted(services.items()):
        running = serving[model][1] if model in serving else None
        if mlflow_up:
            versions, skipped = _registered(settings, model, service, model in serving, running, known_live)
            found += versions
            if skipped:
                notes.append(f"{model}: {skipped} older versions without an alias were not checked")
        elif model in serving:
            facts = facts_of(settings, model) if serve_up else None
            features = frozenset(facts["features"]) if facts and facts.get("features") else None
            found.append(Dependent(model, service, running, True, (), features, "" if features else _UNKNOWN))
        elif _may_hold_models(settings):
            found.append(Dependent(model, service, None, not known_live, (), None, _UNKNOWN))
    return found, notes


_UNKNOWN = "unknown: MLflow is not running"


def _registered(
    settings: Settings, model: str, service: str, deployed: bool, running: int | None, known_live: bool
) -> tuple[list[Dependent], int]:
    """The versions of one model to check, and the number of other versions."""
    known = registry.versions(settings, model)
    wanted = [each for n, each in enumerate(known) if n < _NEWEST or each.aliases or each.version == running]
    found = []
    for each in wanted:
        live = (deployed and each.version == running) or (not known_live and "champion" in each.aliases)
        features = frozenset(registry.version_features(settings, model, each.version))
        found.append(Dependent(model, service, each.version, live, each.aliases, features))
    if deployed and running not in [each.version for each in wanted]:
        note = "unknown: the live version is not registered in MLflow"
        found.append(Dependent(model, service, running, True, (), None, note))
    return found, len(known) - len(wanted)


def _serving(
    settings: Settings,
) -> tuple[dict[str, tuple[str, int | None]], Literal["answered", "kept", "unknown"]]:
    """Model → (feature service, version) of every application, and the source of this information.

    The source is Serve itself (answered), or, if it is not running, the configuration that `headrace up` restores
    (kept).
    """
    try:
        running: dict[str, Any] = details(settings, timeout=3)
        source: Literal["answered", "kept", "unknown"] = "answered"
        declared: Iterable[Any] = [
            each.get("deployed_app_config") or {"name": name}
            for name, each in running.items()
            if each["status"] != "DELETING"
        ]
    except ServeError:
        path = settings.home / "serve" / "config.yaml"
        source = "kept" if path.exists() else "unknown"
        declared = yaml.safe_load(path.read_text(encoding="utf-8")).get("applications", []) if path.exists() else []
    found: dict[str, tuple[str, int | None]] = {}
    for each in declared:
        name = each["name"]
        if name == GATEWAY or not each.get("args"):
            continue
        configured = next((part["user_config"]["version"] for part in each.get("deployments", [])), None)
        answers = (facts_of(settings, name) or {}).get("version") if source == "answered" else None
        found[name] = (each["args"]["feature_service"], answers or configured)
    return found, source


def _may_hold_models(settings: Settings) -> bool:
    """Whether versions may be registered: the embedded MLflow creates its database at its first start."""
    return settings.databases.kind != "embedded" or (settings.home / "databases" / "mlflow.db").exists()


def _answers(url: str) -> bool:
    import httpx

    try:
        return httpx.get(url, timeout=3, trust_env=False).is_success
    except httpx.HTTPError:
        return False
