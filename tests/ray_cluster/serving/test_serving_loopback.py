"""A replica's server for calls between deployments listens where its Ray node does."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor

import grpc
import psutil
import pytest
from ray.serve._private import replica

from ray_cluster.serving.loopback import keep_on_loopback


@pytest.mark.parametrize(("node", "listens"), [("127.0.0.1", "127.0.0.1"), ("10.0.0.7", "::")])
def test_the_server_listens_where_the_node_does(monkeypatch: pytest.MonkeyPatch, node: str, listens: str) -> None:
    monkeypatch.setattr(replica, "add_port_to_grpc_server", replica.add_port_to_grpc_server)  # put back afterwards
    keep_on_loopback(node)
    server = grpc.server(ThreadPoolExecutor(1))
    port = replica.add_port_to_grpc_server(server, "[::]:0")
    server.start()
    try:
        found = [
            each.laddr.ip.removeprefix("::ffff:")
            for each in psutil.Process().net_connections("tcp")
            if each.laddr.port == port
        ]
        assert found == [listens]
    finally:
        server.stop(None).wait()


def test_serve_still_opens_the_port_in_this_way() -> None:
    assert 'add_port_to_grpc_server(self._server, "[::]:0")' in inspect.getsource(replica.Replica._on_initialized)
