"""Whether a port is free, and who has it."""

from __future__ import annotations

import socket

import psutil

__all__ = ["is_free", "owner"]


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
    """Who listens on the port: ``'name' (process 123)``, or "another process" where that cannot be seen."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f"'{psutil.Process(connection.pid).name()}' (process {connection.pid})"
    except psutil.Error:
        pass
    return "another process"
