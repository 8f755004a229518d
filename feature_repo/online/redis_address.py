"""Where Redis is, as HEADRACE_REDIS says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from feature_repo.online.values import OnlineError

__all__ = ["RedisAddress", "redis_address"]


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is; ``options`` (password, db, ssl ...) go to the client and are never shown."""

    host: str
    port: int
    options: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        database = self.options.get("db", 0)
        return f"{self.host}:{self.port}" + (f" (database {database})" if database else "")


def redis_address(connection: str) -> RedisAddress:
    """Read ``host:port,db=N,password=...,ssl=true``, the form that Feast's own Redis store takes.

    Raises:
        OnlineError: it is not of that form; the message does not repeat it, as it may hold a password.
    """
    parts = [part.strip() for part in connection.split(",")]
    places = [part for part in parts if "=" not in part]
    options: dict[str, Any] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if equals and name not in _OPTIONS:
            raise OnlineError(
                f"HEADRACE_REDIS has the option '{name[:40]}', which is none of {', '.join(_OPTIONS)}; take it out."
            )
        if equals:
            try:
                options[name] = _OPTIONS[name](value)
            except ValueError as error:
                raise OnlineError(
                    f"HEADRACE_REDIS: option '{name}' needs {_NEEDS[_OPTIONS[name]]}; correct it."
                ) from error
    if len(places) > 1:
        raise OnlineError(
            f"HEADRACE_REDIS names {len(places)} servers; give one, host:port (a cluster is not supported, "
            "replicas behind one address are)."
        )
    host, _, port = (places[0] if places else "").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise OnlineError("HEADRACE_REDIS is not of the form host:port or host:port,db=N,password=...; correct it.")
    return RedisAddress(host, int(port), options)


def _truth(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError(value)
    return value.lower() == "true"


_OPTIONS: dict[str, Any] = {
    "db": int,
    "password": str,
    "username": str,
    "ssl": _truth,
    "ssl_ca_certs": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "socket_timeout": float,
    "socket_connect_timeout": float,
}
_NEEDS = {int: "a whole number", float: "a number of seconds", _truth: "true or false"}
