"""Bind a replica's server for calls between deployments to loopback.

Serve starts one gRPC server in every replica, on every interface and at any free port, and has no setting for its
address. The server unpickles its input, so any client that reaches it can run code.
"""

from __future__ import annotations

from typing import Any

__all__ = ["keep_on_loopback"]


def keep_on_loopback(node: str) -> None:
    """Make this replica's server listen on loopback if ``node``, the address of its Ray node, is one.

    A deployment's constructor calls it; Serve starts the server afterwards. Other replicas and proxies reach the
    server at the node's address.
    """
    from ray._common.tls_utils import add_port_to_grpc_server
    from ray.serve._private import replica

    if node not in ("127.0.0.1", "::1"):
        return

    def add_port(server: Any, address: str) -> int:
        return int(add_port_to_grpc_server(server, address.replace("[::]", node)))  # type: ignore[no-untyped-call]

    setattr(replica, "add_port_to_grpc_server", add_port)  # noqa: B010 - the name by which Serve calls it
