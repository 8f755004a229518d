"""Ports and readiness: check ports and servers, and set up Prefect's work pool."""

from __future__ import annotations

import json
import socket
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import psutil

from configs.settings import Settings
from flows.stack.processes import StackError, read_record
from flows.stack.services import Service

if TYPE_CHECKING:
    import httpx

__all__ = [
    "is_free",
    "owner",
    "WORK_POOL",
    "create_work_pool",
    "is_ready",
    "request",
]


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def owner(port: int) -> str:
    """The process that listens on the port: ``'name' (process 123)``, or "another process" if unknown."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f"'{psutil.Process(connection.pid).name()}' (process {connection.pid})"
    except psutil.Error:
        pass
    return "another process"


WORK_POOL = "headrace"


def request(method: str, url: str, content: Any = None, timeout: float = 5.0) -> tuple[int, Any]:
    """One HTTP request with a JSON body; returns the status and the decoded answer (text if it is not JSON).

    Proxy settings in the environment are ignored: the stack's servers are reached directly.

    Raises:
        ConnectionError: no server answers.
    """
    import httpx

    body = None if content is None else json.dumps(content).encode()
    headers = {"Content-Type": "application/json"}
    try:
        answer = _client().request(method, url, content=body, headers=headers, timeout=timeout)
    except httpx.HTTPError as error:
        raise ConnectionError(f"{url} does not answer ({type(error).__name__}: {error})") from None
    try:
        return answer.status_code, answer.json()
    except ValueError:
        return answer.status_code, answer.text


@cache
def _client() -> httpx.Client:
    """One client for all requests, because making one takes longer than a request; it keeps no connection open."""
    import httpx

    return httpx.Client(trust_env=False, follow_redirects=True, limits=httpx.Limits(max_keepalive_connections=0))


def is_ready(settings: Settings, service: Service) -> bool:
    """Whether the service works now."""
    try:
        if service.probe is None:
            return _polled(settings, service)
        return request("GET", service.probe)[0] < 400
    except OSError:
        return False


def _polled(settings: Settings, service: Service) -> bool:
    """Whether a process that serves flows has polled Prefect for their runs since it was started."""
    record = read_record(settings, service.name)
    status, deployments = request("POST", f"{settings.url('prefect')}/api/deployments/filter", {"limit": 200})
    if record is None or status >= 400:
        return False
    times = [each["last_polled"] for each in deployments if each.get("last_polled")]
    return any(datetime.fromisoformat(time).timestamp() >= record.created for time in times)


def create_work_pool(settings: Settings) -> None:
    """Create the ``process`` work pool of the environment if it is missing.

    Raises:
        StackError: Prefect refuses.
    """
    content = {"name": WORK_POOL, "type": "process", "description": "Flow runs of Headrace, as processes."}
    status, answer = request("POST", f"{settings.url('prefect')}/api/work_pools/", content, timeout=30)
    if status not in (201, 409):
        raise StackError(f"Prefect refused to create the work pool '{WORK_POOL}' ({status}): {answer}; see its log.")
