"""Ray's private names still do what Headrace uses them for: a new version that changes one fails here."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor

import grpc
import psutil
import pytest
import ray
from ray._private import ray_constants, services
from ray.serve._private import replica

from ray_cluster.cluster.ray_private import free_resources, keep_loopback_address, keep_on_loopback


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


def test_a_loopback_address_is_kept_or_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)  # put back afterwards
    monkeypatch.setattr(services, "node_ip_address_from_perspective", lambda *more: "10.0.0.7")
    found = []
    for keep in (True, False):
        keep_loopback_address(keep)
        found.append(services.resolve_ip_for_localhost("127.0.0.1"))
    assert found == ["127.0.0.1", "10.0.0.7"]


def test_the_free_resources_of_each_node() -> None:
    ray.init(num_cpus=2, object_store_memory=80_000_000, include_dashboard=False, log_to_driver=False)
    try:
        [(node, free)] = free_resources().items()
        assert node == ray.get_runtime_context().get_node_id() and free["CPU"] == 2
    finally:
        ray.shutdown()
