"""Joining the cluster: a dead address is refused at once, in one sentence."""

from __future__ import annotations

import socket
import time

import pytest

from configs import Settings, load_settings
from ray_cluster.cluster.connection import ClusterError, connected


def at(address: str) -> Settings:
    settings = load_settings("local", {})
    return settings.model_copy(update={"ray": settings.ray.model_copy(update={"address": address})})


def dead_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(
    "address",
    [dead_address(), f"ray://{dead_address()}", "no-such-host.invalid:6379", "auto"],
    ids=["dead", "dead client", "unknown host", "auto"],
)
def test_a_dead_address_is_refused_quickly_with_one_sentence(address: str) -> None:
    started = time.monotonic()
    with pytest.raises(ClusterError) as caught, connected(at(address)):
        pytest.fail("the block must not run")
    assert time.monotonic() - started < 5
    said = str(caught.value)
    assert f"No Ray cluster answers at {address} (" in said and "headrace up" in said and "\n" not in said
    assert said.endswith(".") and isinstance(caught.value, ConnectionError)
