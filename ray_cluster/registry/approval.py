"""Approval of a version by a named person: requested, given or denied, and stored with the version and its evidence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from configs.errors import HeadraceError
from configs.reading import nearest
from configs.settings import Settings
from ray_cluster.registry.mlflow_client import connect
from ray_cluster.registry.runs import add_evidence
from ray_cluster.registry.versions import VersionFacts, annotate, remember

__all__ = [
    "ApprovalError",
    "ApprovalState",
    "approval_state",
    "ask_approval",
    "check_approver",
    "record_approval",
    "withdraw",
]

ApprovalState = Literal["waiting", "approved", "rejected"]

_TAG = "headrace.approval"


class ApprovalError(HeadraceError, ValueError):
    """An approval cannot be given; the message is one sentence."""


def approval_state(facts: VersionFacts) -> ApprovalState | None:
    """The approval state of a version; None if no approval was requested."""
    found = facts.tags.get(_TAG)
    return found if found in ("waiting", "approved", "rejected") else None  # type: ignore[return-value]


def ask_approval(settings: Settings, facts: VersionFacts, flow_run: str) -> None:
    """Mark a version as waiting; ``flow_run`` is the run that waits, so that an answer can resume it."""
    remember(settings, facts.run_id, "waits for approval", "the gate")
    annotate(settings, facts.model, facts.version, {"headrace.approval_run": flow_run, _TAG: "waiting"})


def check_approver(settings: Settings, name: str) -> str:
    """The approver's name, stripped of surrounding blanks.

    Raises:
        ApprovalError: it is empty, or not among the environment's approvers.
    """
    name, known = name.strip(), settings.approval.approvers
    if not name:
        raise ApprovalError("An approval needs a name; pass yours with --by.")
    if known and name not in known:
        raise ApprovalError(
            f"'{name}' may not approve in the environment '{settings.environment}'.{nearest(name, known)} "
            f"Approvers (settings, approval.approvers): {', '.join(known)}."
        )
    return name


def record_approval(settings: Settings, facts: VersionFacts, by: str, comment: str, approved: bool) -> None:
    """Store an answer on the version and in the evidence of its run. Checks only the name.

    Raises:
        ApprovalError: the name is not an approver's.
    """
    by = check_approver(settings, by)
    state: ApprovalState = "approved" if approved else "rejected"
    now = datetime.now(UTC).isoformat()
    add_evidence(
        settings,
        facts.run_id,
        {"approval": {"state": state, "by": by, "at": now, "comment": comment, "version": facts.version}},
    )
    tags = {f"{_TAG}_by": by, f"{_TAG}_at": now, f"{_TAG}_comment": comment, _TAG: state}
    remember(settings, facts.run_id, state, by, comment)
    annotate(settings, facts.model, facts.version, tags)


def withdraw(settings: Settings, facts: VersionFacts) -> None:
    """End the wait: the version was decided again, and refused."""
    if approval_state(facts) == "waiting":
        connect(settings).delete_model_version_tag(facts.model, str(facts.version), _TAG)
