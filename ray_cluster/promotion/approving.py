"""A named person says yes or no to a version that passed the gate and waits."""

from __future__ import annotations

from configs.settings import Settings
from ray_cluster import registry
from ray_cluster.decisions import Decision
from ray_cluster.promotion.model_card import publish_card
from ray_cluster.promotion.registering import still_holds

__all__ = ["approve", "reject"]


def approve(settings: Settings, model: str, number: int, by: str, comment: str) -> registry.VersionFacts:
    """Let a version that passed the gate become champion; again after a kill, it goes on.

    Raises:
        ApprovalError: the name does not count, the version does not wait, or there is another champion by now.
        RegistryError: there is no such version, or it was retired.
    """
    with registry.exclusive(settings, model):
        facts = _waiting(settings, model, number, by)
        decision = Decision.from_dict(registry.evidence(settings, facts.run_id)["decision"])
        present = registry.champion(settings, model)
        if not still_holds(decision, present.version if present else None):
            then = decision.evidence["versions"]["champion"]
            raise registry.ApprovalError(
                f"Version {number} of '{model}' was measured against {_named(then)}, but "
                f"{_named(present.version if present else None)} is champion now; decide anew: `headrace run register "
                f"--model {model} --param run_id={facts.run_id}`."
            )
        if registry.approval_state(facts) == "waiting":
            registry.record_approval(settings, facts, by, comment, approved=True)
        registry.promote(settings, model, number, by, comment)
        publish_card(settings, model, number)
        return registry.version(settings, model, number)


def reject(settings: Settings, model: str, number: int, by: str, comment: str) -> registry.VersionFacts:
    """Say no to a version that waits; it stays, and is never promoted.

    Raises:
        ApprovalError: the name does not count, or the version does not wait.
        RegistryError: there is no such version, or it was retired.
    """
    with registry.exclusive(settings, model):
        facts = _waiting(settings, model, number, by)
        if registry.approval_state(facts) == "approved":
            raise registry.ApprovalError(
                f"Version {number} of '{model}' was approved by {facts.tags['headrace.approval_by']} on "
                f"{facts.tags['headrace.approval_at'][:10]} and cannot be rejected; `headrace models rollback {model}` "
                "takes it back."
            )
        registry.record_approval(settings, facts, by, comment, approved=False)
        publish_card(settings, model, number)
        return registry.version(settings, model, number)


def _waiting(settings: Settings, model: str, number: int, by: str) -> registry.VersionFacts:
    """A version that an answer is due for, also one that was approved but not promoted yet."""
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
        when = "not decided about yet"
    waits = [each for each in registry.versions(settings, model) if registry.approval_state(each) == "waiting"]
    told = ", ".join(str(each.version) for each in waits) or "none"
    raise registry.ApprovalError(
        f"Version {number} of '{model}' does not wait for approval: it was {when}. Versions that wait: {told}."
        if state is not None or facts.promoted_at or "headrace.action" in facts.tags
        else f"Version {number} of '{model}' does not wait for approval: it is {when}; run `headrace run register "
        f"--model {model} --param run_id={facts.run_id}`."
    )


def _named(version: int | None) -> str:
    return "no champion" if version is None else f"version {version}"
