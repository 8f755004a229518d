"""Register a training run as a model version, and make it champion if the gate and, if required, a person approves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from configs.model import ModelSpec
from configs.settings import Settings
from ray_cluster import registry
from ray_cluster.decisions.decision import Decision, promotion
from ray_cluster.promotion.challenge import challenge
from ray_cluster.promotion.model_card import publish_card

__all__ = ["Registered", "latest_run", "register", "still_holds"]

#: Tag of a version: start and end of its held-out period, ISO times.
_HELD_OUT = "headrace.held_out"


@dataclass(frozen=True)
class Registered:
    """A version, the decision about it, and the current champion version (None if there is none).

    ``approval`` is waiting, approved or rejected; None if no approval is required. ``unchanged``: all was done before.
    ``waited``: the flow run that waited for the approval before this call, and was interrupted.
    """

    version: int
    run_id: str
    decision: Decision
    champion: int | None
    unchanged: bool
    approval: str | None = None
    waited: str | None = None


def latest_run(settings: Settings, model: str) -> str:
    """Id of the newest finished training run.

    Raises:
        RegistryError: there is none.
    """
    run_id = registry.newest_run(settings, model)
    if run_id is None:
        raise registry.RegistryError(f"Model '{model}' has no finished training run; run `headrace run train`.")
    return run_id


def register(
    settings: Settings, spec: ModelSpec, run_id: str, context: dict[str, str], flow_run: str = "none"
) -> Registered:
    """Register ``run_id`` and decide about it with ``spec.gate``; a repeated call changes nothing.

    The order is version, decision, alias or request for approval, card. Each step checks whether it is already done:
    killed at any point and run again, the result is the same single version. A concurrent registration of another run
    of the model waits, so that the later one is compared with the champion that the earlier one made.

    Args:
        context: tags of the version. flow_run: id of the flow run that waits if an approval is required.

    Raises:
        RegistryError: the run is not complete, or a bundle cannot be loaded.
    """
    with registry.exclusive(settings, spec.name):
        evidence = registry.evidence(settings, run_id)
        evaluation, dataset = evidence.evaluation, evidence.dataset
        if evaluation is None or dataset is None:
            missing = [name for name, held in (("dataset", dataset), ("evaluation", evaluation)) if held is None]
            raise registry.RegistryError(
                f"Run {run_id} of '{spec.name}' has no evidence of its {' and '.join(missing)}, so no gate can judge "
                "it; run `headrace run train` again."
            )
        if evaluation.period != "held_out":
            raise registry.RegistryError(
                f"Run {run_id} of '{spec.name}' was measured on the {evaluation.period} period, by hand, so no gate "
                "can judge it; fit it with rows='early' in the notebook, which measures it on the held-out period, and "
                "log that."
            )
        held_out = " ".join(evaluation.periods["held_out"][end] for end in ("start", "end"))
        facts = registry.register_run(
            settings,
            spec.name,
            run_id,
            tags={
                "headrace.dataset": dataset.fingerprint,
                "headrace.as_of": dataset.as_of,
                _HELD_OUT: held_out,
                "headrace.feature_service": dataset.feature_service,
                "headrace.git_commit": str(dataset.git["commit"]),
                **context,
            },
        )
        present = registry.champion(settings, spec.name)
        stored = Decision.from_dict(evidence.decision) if evidence.decision else None
        settled = facts.retired_at or facts.promoted_at or registry.approval_state(facts) == "rejected"
        if stored and settled and "headrace.card" in facts.tags:
            return _registered(settings, spec, facts, stored, unchanged=True)
        current = present.version if present and present.version != facts.version else None
        decision = stored if stored and (settled or still_holds(stored, current)) else None
        unchanged = decision is not None and "headrace.card" in facts.tags
        if decision is None:
            attempt = _attempt(registry.versions(settings, spec.name), facts.version, held_out)
            decision = _decide(settings, spec, facts, evidence, current, attempt)
        summary = {"headrace.action": decision.action, "headrace.decision": "; ".join(decision.reasons)}
        if any(facts.tags.get(name) != value[:5000] for name, value in summary.items()):
            registry.annotate(settings, spec.name, facts.version, summary)
        if not settled:
            unchanged &= not _act(settings, facts, decision, flow_run)
        if not unchanged:
            publish_card(settings, spec.name, facts.version)
        return _registered(settings, spec, facts, decision, unchanged)


def still_holds(decision: Decision, champion: int | None) -> bool:
    """Whether the decision was made against the current champion."""
    versions = decision.evidence.get("versions", {})
    return decision.action != "promote" or versions.get("champion") == champion


def _decide(
    settings: Settings,
    spec: ModelSpec,
    facts: registry.VersionFacts,
    evidence: registry.Evidence,
    champion: int | None,
    attempt: int,
) -> Decision:
    new, old, measured = challenge(settings, spec, facts, evidence, champion, attempt)
    context: dict[str, Any] = {
        "versions": {"challenger": facts.version, "champion": champion},
        "decided_at": datetime.now(UTC).isoformat(),
    }
    decision = promotion(new, old, spec.gate, {**measured, **context})
    against = "no champion" if champion is None else f"champion {champion}"
    registry.remember(
        settings, facts.run_id, f"decided: {decision.action}", "the gate", decision.reasons[0], against=against
    )
    registry.add_evidence(settings, facts.run_id, {"decision": decision.to_dict()})
    return decision


def _attempt(known: Sequence[registry.VersionFacts], version: int, held_out: str) -> int:
    """The number of comparisons on these held-out rows, with this one: earlier versions whose held-out period shares
    more than half of its time. The first of them was compared with nothing that had been chosen on these rows."""
    start, end = _bounds(held_out)
    earlier = (_bounds(each.tags[_HELD_OUT]) for each in known if each.version < version and _HELD_OUT in each.tags)
    return max(1, sum(min(end, last) - max(start, first) > (end - start) / 2 for first, last in earlier))


def _bounds(held_out: str) -> tuple[datetime, datetime]:
    start, end = map(datetime.fromisoformat, held_out.split())
    return start, end


def _act(settings: Settings, facts: registry.VersionFacts, decision: Decision, flow_run: str) -> bool:
    """Move the alias, or request approval; False if there was nothing left to do."""
    model, number, state = facts.model, facts.version, registry.approval_state(facts)
    if decision.action == "promote" and (state == "approved" or not settings.approval.required):
        by = facts.tags.get("headrace.approval_by", "the gate") if state == "approved" else "the gate"
        registry.promote(settings, model, number, by, decision.reasons[0])
        return True
    changed = False
    if decision.action == "promote" and (state is None or facts.tags.get("headrace.approval_run") != flow_run):
        registry.ask_approval(settings, facts, flow_run)
        changed = state is None
    elif decision.action != "promote":
        registry.withdraw(settings, facts)
    held = registry.aliased(settings, model, "challenger")
    if held is None or held.version < number:
        registry.point(settings, model, number, "challenger")
        changed = True
    return changed


def _registered(
    settings: Settings, spec: ModelSpec, facts: registry.VersionFacts, decision: Decision, unchanged: bool
) -> Registered:
    waited = facts.tags.get("headrace.approval_run")
    facts, present = registry.version(settings, spec.name, facts.version), registry.champion(settings, spec.name)
    return Registered(
        version=facts.version,
        run_id=facts.run_id,
        decision=decision,
        champion=present.version if present else None,
        unchanged=unchanged,
        approval=registry.approval_state(facts),
        waited=waited if waited != facts.tags.get("headrace.approval_run") else None,
    )
