"""Decisions of people about a version: approve or reject it, roll back to an earlier champion, retire it."""

from __future__ import annotations

from datetime import UTC, datetime

from configs.errors import HeadraceError
from configs.settings import Settings
from ray_cluster import registry
from ray_cluster.decisions.decision import Decision
from ray_cluster.lineage.impact import dependents
from ray_cluster.promotion.model_card import publish_card
from ray_cluster.promotion.registration import still_holds

__all__ = [
    "approve",
    "reject",
    "RetirementError",
    "retire",
    "roll_back",
    "rollback_target",
]


def approve(settings: Settings, model: str, number: int, by: str, comment: str) -> registry.VersionFacts:
    """Make a version that passed the gate champion; a repeated call after a kill completes the promotion.

    Raises:
        ApprovalError: the name is not an approver's, the version does not wait, or the champion has changed since.
        RegistryError: there is no such version, or it was retired.
    """
    with registry.exclusive(settings, model):
        facts = _waiting(settings, model, number, by)
        decision = Decision.from_dict(registry.evidence(settings, facts.run_id).decision)
        present = registry.champion(settings, model)
        if not still_holds(decision, present.version if present else None):
            then = decision.evidence["versions"]["champion"]
            raise registry.ApprovalError(
                f"Version {number} of '{model}' was measured against {_named(then)}, but "
                f"{_named(present.version if present else None)} is champion now; decide again: `headrace run register "
                f"--model {model} --param run_id={facts.run_id}`."
            )
        if registry.approval_state(facts) == "waiting":
            registry.record_approval(settings, facts, by, comment, approved=True)
        registry.promote(settings, model, number, by, comment)
        publish_card(settings, model, number)
        return registry.version(settings, model, number)


def reject(settings: Settings, model: str, number: int, by: str, comment: str) -> registry.VersionFacts:
    """Reject a version that waits; it stays registered, and is never promoted.

    Raises:
        ApprovalError: the name is not an approver's, or the version does not wait.
        RegistryError: there is no such version, or it was retired.
    """
    with registry.exclusive(settings, model):
        facts = _waiting(settings, model, number, by)
        if registry.approval_state(facts) == "approved":
            raise registry.ApprovalError(
                f"Version {number} of '{model}' was approved by {facts.tags['headrace.approval_by']} on "
                f"{facts.tags['headrace.approval_at'][:10]} and cannot be rejected; `headrace models rollback {model}` "
                "reverts the promotion."
            )
        registry.record_approval(settings, facts, by, comment, approved=False)
        publish_card(settings, model, number)
        return registry.version(settings, model, number)


def _waiting(settings: Settings, model: str, number: int, by: str) -> registry.VersionFacts:
    """A version that waits for an answer, or was approved but not promoted yet."""
    registry.check_approver(settings, by)
    facts = registry.usable(settings, model, number)
    state = registry.approval_state(facts)
    if state == "waiting" or (state == "approved" and facts.promoted_at is None):
        return facts
    if state is not None:
        when = f"{state} by {facts.tags['headrace.approval_by']} on {facts.tags['headrace.approval_at'][:10]}"
    elif facts.promoted_at:
        when = f"promoted on {facts.promoted_at:%Y-%m-%d} by {facts.tags.get('headrace.promoted_by', 'the gate')}"
    elif facts.tags.get("headrace.action") == "refuse":
        when = "refused by the gate"
    else:
        when = "not decided yet"
    waits = [each for each in registry.versions(settings, model) if registry.approval_state(each) == "waiting"]
    waiting = ", ".join(str(each.version) for each in waits) or "none"
    raise registry.ApprovalError(
        f"Version {number} of '{model}' does not wait for approval: it was {when}. Versions that wait: {waiting}."
        if state is not None or facts.promoted_at or "headrace.action" in facts.tags
        else f"Version {number} of '{model}' does not wait for approval: it is {when}; run `headrace run register "
        f"--model {model} --param run_id={facts.run_id}`."
    )


def _named(version: int | None) -> str:
    return "no champion" if version is None else f"version {version}"


class RetirementError(HeadraceError, RuntimeError):
    """A live system depends on the version; the message says which, and what to do first."""


def retire(
    settings: Settings, model: str, number: int, reason: str, by: str, delete_artifacts: bool = False
) -> registry.VersionFacts:
    """Retire a version: it is never promoted, aliased or deployed again; its evidence stays.

    Args:
        delete_artifacts: also remove its model files; they can also be removed by a later call.

    Raises:
        RetirementError: it is champion or shadow, answers requests, or Serve will load it at its next start.
        RegistryError: there is no such version.
    """
    if not reason.strip():
        raise RetirementError(f"Version {number} of '{model}' cannot be retired with no reason; pass --reason.")
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
    version = f"Version {facts.version} of '{facts.model}'"
    ways = {
        "champion": f"promote another one or `headrace models rollback {facts.model}`",
        "shadow": f"`headrace models alias {facts.model} shadow --remove`",
    }
    for alias, way in ways.items():
        if alias in facts.aliases:
            raise RetirementError(f"{version} is {alias} and cannot be retired; first {way}.")
    known, _ = dependents(settings)
    if any(each.live and each.model == facts.model and each.version == facts.version for each in known):
        raise RetirementError(
            f"{version} answers requests, or will when Serve runs again, and cannot be retired; first deploy another "
            f"one: `headrace run deploy --model {facts.model}`."
        )


def rollback_target(settings: Settings, model: str) -> int:
    """The champion before the current one: the last promoted version that was not rolled back or retired.

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
    """Make an earlier champion (default: :func:`rollback_target`) champion again; who did it and why is recorded.

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
                f"Version {number} of '{model}' was never champion; roll back to an earlier champion: "
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
