"""What Headrace uses of Ray's private modules, because no public function or setting does the same.

Every name is in tests/ray_cluster/cluster/test_ray_private.py, which fails if a new version of Ray changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["free_resources", "keep_loopback_address", "keep_on_loopback"]


def free_resources() -> Mapping[str, Mapping[str, float]]:
    """Node -> resource -> amount that is free now."""
    from ray._private.state import available_resources_per_node

    return available_resources_per_node()  # type: ignore[no-any-return, no-untyped-call]


def keep_loopback_address(keep: bool) -> None:
    """Whether this process connects to a loopback address as given, or to the address that Ray replaces it by.

    Ray reads this from RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER when it is imported, which may be before the settings are
    loaded. On a cluster of one machine nothing listens on the replaced address.
    """
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = not keep


def keep_on_loopback(node: str) -> None:
    """Bind this replica's server for calls between deployments to ``node``, the address of its Ray node, if loopback.

    Serve starts one gRPC server in every replica, on every interface and at any free port, and has no setting for its
    address. The server unpickles its input, so any client that reaches it can run code.

    A deployment's constructor calls this; Serve starts the server afterwards. Other replicas and proxies reach the
    server at the node's address.
    """
    from ray._common.tls_utils import add_port_to_grpc_server
    from ray.serve._private import replica

    if node not in ("127.0.0.1", "::1"):
        return

    def add_port(server: Any, address: str) -> int:
        return int(add_port_to_grpc_server(server, address.replace("[::]", node)))  # type: ignore[no-untyped-call]

    setattr(replica, "add_port_to_grpc_server", add_port)  # noqa: B010 - the name by which Serve calls it
