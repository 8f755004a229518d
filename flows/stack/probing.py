"""Ask a server whether it is ready, and make what Prefect needs once it is."""

from __future__ import annotations

from typing import Any

from configs.settings import Settings
from flows.stack.processes import StackError, log_path
from flows.stack.services import Service

__all__ = ["WORK_POOL", "create_work_pool", "is_ready", "request"]

WORK_POOL = "headrace"


def request(method: str, url: str, content: Any = None, timeout: float = 5.0) -> tuple[int, Any]:
    """One HTTP request with a JSON body; returns the status and the decoded answer (text if it is not JSON).

    Proxy settings in the environment are ignored: the stack's servers are reached directly.

    Raises:
        OSError: nobody answers.
    """
    import httpx

    try:
        with httpx.Client(trust_env=False, timeout=timeout) as client:
            answer = client.request(method, url, json=content)
    except httpx.HTTPError as error:
        raise ConnectionError(f"{url} does not answer ({type(error).__name__}: {error})") from None
    try:
        return answer.status_code, answer.json()
    except ValueError:
        return answer.status_code, answer.text


def is_ready(settings: Settings, service: Service) -> bool:
    """Whether the service answers its probe, or has written the line that says so."""
    if service.probe is None:
        log = log_path(settings, service.name)
        return service.line is None or (log.exists() and service.line in log.read_text("utf-8", "replace"))
    try:
        return request("GET", service.probe, timeout=5.0)[0] < 400
    except OSError:
        return False


def create_work_pool(settings: Settings) -> None:
    """Make the ``process`` work pool of the environment if it is missing.

    Raises:
        StackError: Prefect refuses.
    """
    content = {"name": WORK_POOL, "type": "process", "description": "Flow runs of Headrace, as processes."}
    status, answer = request("POST", f"{settings.url('prefect')}/api/work_pools/", content, timeout=30)
    if status not in (201, 409):
        raise StackError(f"Prefect refused to make the work pool '{WORK_POOL}' ({status}): {answer}; see its log.")
