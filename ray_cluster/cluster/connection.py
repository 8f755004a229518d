"""Connect to the Ray cluster, and wait for its results so that a flow can still be cancelled."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from configs.errors import HeadraceError
from configs.settings import Settings
from ray_cluster.cluster.ray_private import keep_loopback_address

__all__ = ["ClusterError", "connected", "wait"]


class ClusterError(HeadraceError, ConnectionError):
    """No Ray cluster answers; the message has the address and says how to start a cluster."""


@contextmanager
def connected(settings: Settings) -> Iterator[None]:
    """Connect this process as a driver to the environment's cluster for the duration of the block.

    Ray retries a wrong address for minutes, so the port is tried first. Ray also replaces the SIGTERM handler, with
    which Prefect cancels a flow, so that handler is restored.

    Raises:
        ClusterError: nothing listens at the address.
    """
    host, _, port = settings.ray_address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"No Ray cluster answers at {settings.ray_address} ({error}); run `headrace up`, or set ray.address."
        ) from None
    import ray

    if ray.is_initialized():
        yield
        return
    keep_loopback_address(settings.one_machine)
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    ray.init(
        address=settings.ray_address,
        log_to_driver=False,
        logging_level=logging.WARNING,
        runtime_env=settings.ray.runtime_env,
        namespace="headrace",
    )
    if main and handler is not None:
        signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        ray.shutdown()


def wait(references: list[Any]) -> list[Any]:
    """Results of Ray references, in order; signals are handled between short waits."""
    import ray

    pending = references
    while pending:
        _, pending = ray.wait(pending, num_returns=len(pending), timeout=0.5)
    return ray.get(references)  # type: ignore[no-any-return]
