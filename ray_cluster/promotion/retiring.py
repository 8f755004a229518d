"""Retire a version, unless something live depends on it."""

from __future__ import annotations

from configs.settings import Settings
from ray_cluster import registry
from ray_cluster.blast_radius import takers
from ray_cluster.promotion.model_card import publish_card

__all__ = ["RetirementError", "retire"]


class RetirementError(RuntimeError):
    """A version that something live depends on; one sentence with what that is, and a way on."""


def retire(
    settings: Settings, model: str, number: int, reason: str, by: str, delete_artifacts: bool = False
) -> registry.VersionFacts:
    """Retire a version: it is never promoted, aliased or deployed again; its evidence stays.

    Args:
        delete_artifacts: also remove its model files. Asked for later, they go then.

    Raises:
        RetirementError: it is champion or shadow, answers requests, or is what Serve will load when it is up again.
        RegistryError: there is no such version.
    """
    if not reason.strip():
        raise RetirementError(f"Version {number} of '{model}' is retired for a reason; give it with --reason.")
    with registry.exclusive(settings, model):
        facts = registry.version(settings, model, number)
        if not facts.retired_at:
            _check_unused(settings, facts)
            registry.retire(settings, facts, by, reason)
        if delete_artifacts:
            registry.delete_files(settings, registry.version(settings, model, number))
        publish_card(settings, model, number)
        return registry.version(settings, model, number)


def _check_unused(settings: Settings, facts: registry.VersionFacts) -> None:
    told = f"Version {facts.version} of '{facts.model}'"
    ways = {
        "champion": f"promote another one or `headrace models rollback {facts.model}`",
        "shadow": f"`headrace models alias {facts.model} shadow --remove`",
    }
    for alias, way in ways.items():
        if alias in facts.aliases:
            raise RetirementError(f"{told} is {alias} and cannot be retired; first {way}.")
    known, _ = takers(settings)
    if any(each.live and each.model == facts.model and each.version == facts.version for each in known):
        raise RetirementError(
            f"{told} answers requests, or will once Serve is up again, and cannot be retired; first put another one "
            f"live: `headrace run deploy --model {facts.model}`."
        )
