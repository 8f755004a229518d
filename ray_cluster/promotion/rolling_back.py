"""Make an earlier champion champion again; who did so, when and why stays on both versions."""

from __future__ import annotations

from datetime import UTC, datetime

from configs.settings import Settings
from ray_cluster import registry
from ray_cluster.promotion.model_card import publish_card

__all__ = ["roll_back", "rollback_target"]


def rollback_target(settings: Settings, model: str) -> int:
    """The version that was champion before the present one: the one promoted last of those not rolled back or retired.

    Raises:
        RegistryError: there is none.
    """
    present = registry.champion(settings, model)
    known = [
        (facts.promoted_at, facts.version)
        for facts in registry.versions(settings, model)
        if facts.promoted_at and not facts.retired_at
        if facts.tags.get("headrace.rolled_back_at", "") < facts.tags["headrace.promoted_at"]
        if present is None or facts.version != present.version
    ]
    if not known:
        raise registry.RegistryError(
            f"Model '{model}' has no earlier champion to roll back to; `headrace models list {model}` shows its "
            "versions."
        )
    return max(known)[1]


def roll_back(settings: Settings, model: str, number: int | None, by: str, why: str) -> tuple[int | None, int]:
    """Make an earlier champion (default: :func:`rollback_target`) champion again; who did so and why is recorded.

    Returns the versions that were champion before and after.

    Raises:
        RegistryError: there is no such version, it was never champion, is it now, or was retired.
    """
    with registry.exclusive(settings, model):
        number = rollback_target(settings, model) if number is None else number
        facts, present = registry.usable(settings, model, number), registry.champion(settings, model)
        if present and present.version == number:
            raise registry.RegistryError(f"Version {number} of '{model}' is champion already; nothing was changed.")
        if facts.promoted_at is None:
            earlier = [str(each.version) for each in registry.versions(settings, model) if each.promoted_at]
            raise registry.RegistryError(
                f"Version {number} of '{model}' was never champion, so there is no going back to it; those that were: "
                f"{', '.join(earlier) or 'none'}."
            )
        if present:
            now = datetime.now(UTC).isoformat()
            registry.annotate(settings, model, present.version, {"headrace.rolled_back_at": now})
            registry.remember(settings, present.run_id, "rolled back", by, why, to=number)
        registry.promote(settings, model, number, by, why or "rollback")
        for each in (number, *([present.version] if present else [])):
            publish_card(settings, model, each)
    return present.version if present else None, number
