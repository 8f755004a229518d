"""Join the Ray cluster, and wait for work on it so that a flow can still be cancelled."""

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

__all__ = ["ClusterError", "connected", "wait"]


class ClusterError(HeadraceError, ConnectionError):
    """No Ray cluster answers; one sentence with the address and how to start one."""


@contextmanager
def connected(settings: Settings) -> Iterator[None]:
    """Be a driver of the environment's cluster for the length of the block.

    Ray retries a wrong address for minutes, so the port is tried first; and it replaces the SIGTERM handler, by
    which Prefect cancels a flow, so that is put back.

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
    from ray._private import ray_constants

    if ray.is_initialized():
        yield
        return
    # Ray reads this from RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER when it is imported, which may be before the settings are
    # loaded. Where it is true, a loopback address is replaced by one on which this cluster does not listen.
    ray_constants.ENABLE_RAY_CLUSTER = not settings.one_machine
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
