"""Approval: a flow run waits in Prefect until a named person approves or rejects, there or on the command line."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from prefect import get_run_logger, pause_flow_run
from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import resume_flow_run
from prefect.input import RunInput
from prefect.states import Cancelled
from pydantic import Field

from configs import Settings

__all__ = ["Answer", "answer_waiting_run", "release", "wait_for_approval"]

#: Seconds between two checks for an answer.
_POLL = 5


class Answer(RunInput):
    """The form on the flow run's page."""

    approver: str = Field(description="Your name; it is stored with the version.")
    approve: bool = Field(False, description="Yes: the version becomes champion. No: it is rejected.")
    comment: str = Field("", description="Why; stored with the version.")


def wait_for_approval(settings: Settings, model: str, version: int, about: str) -> dict[str, Any]:
    """Pause until the version is approved or rejected, or ``approval.timeout`` has passed.

    Unauthorized approvers are prompted again. Returns the resulting ``approval`` and ``champion``; ``approval`` is
    ``waiting`` after the timeout.
    """
    from ray_cluster import registry
    from ray_cluster.promotion.transitions import approve, reject

    logger, deadline = get_run_logger(), time.monotonic() + settings.approval.timeout.total_seconds()
    notice, who = "", ", ".join(settings.approval.approvers) or "anyone"
    logger.info(
        "version %s of %s waits for approval (by %s): *Resume* on this run's page, or `headrace models approve %s %s`",
        version, model, who, model, version,
    )  # fmt: skip
    while _state(settings, model, version) == "waiting" and (left := deadline - time.monotonic()) > 1:
        page = f"{notice}{about}\n\nMay approve: {who}."
        try:
            answer = pause_flow_run(
                wait_for_input=Answer.with_initial_data(description=page),
                timeout=int(left),
                poll_interval=_POLL,
            )
        except FlowPauseTimeout:
            break
        if _state(settings, model, version) != "waiting":
            break  # answered on the command line
        try:
            (approve if answer.approve else reject)(settings, model, version, answer.approver, answer.comment)
        except registry.ApprovalError as error:
            notice = f"**The last answer was not accepted:** {error}\n\n"
            logger.warning("the answer was not accepted: %s", error)
    champion = registry.champion(settings, model)
    return {"approval": _state(settings, model, version), "champion": champion.version if champion else None}


def answer_waiting_run(flow_run: str | None, approver: str, approve: bool, comment: str) -> bool:
    """Resume the waiting flow run after the answer was recorded; False if none waits."""
    if not flow_run or not _is_paused(flow_run):
        return False
    resume_flow_run(UUID(flow_run), run_input={"approver": approver, "approve": approve, "comment": comment})
    return True


def release(flow_run: str, why: str) -> None:
    """Cancel a *paused* flow run whose process has ended."""
    if _is_paused(flow_run):
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(flow_run), Cancelled(message=why), force=True)


def _state(settings: Settings, model: str, version: int) -> str | None:
    from ray_cluster import registry

    return registry.approval_state(registry.version(settings, model, version))


def _is_paused(flow_run: str) -> bool:
    from prefect.exceptions import ObjectNotFound

    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(flow_run)).state
    except (ObjectNotFound, ValueError):
        return False
    return state is not None and state.is_paused()
