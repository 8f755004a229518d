"""Online values in Redis, at the address in HEADRACE_REDIS."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feature_repo.online.codec import STAMP_BYTES, Features, codec, pack
from feature_repo.online.entity_keys import component, decode_key, encode_key
from feature_repo.online.layout import ViewLayout
from feature_repo.online.values import KNOWN_UNTIL, Found, OnlineError, OnlineValues, moment_bytes, moment_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "RedisAddress",
    "redis_address",
    "RedisValues",
]


@dataclass(frozen=True)
class RedisAddress:
    """Address of Redis; ``options`` (password, db, ssl ...) are passed to the client and never shown."""

    host: str
    port: int
    options: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        database = self.options.get("db", 0)
        return f"{self.host}:{self.port}" + (f" (database {database})" if database else "")


def redis_address(connection: str) -> RedisAddress:
    """Read ``host:port,db=N,password=...,ssl=true``, the format of Feast's Redis store.

    Raises:
        OnlineError: it has another form; the message does not repeat it, because it may contain a password.
    """
    parts = [part.strip() for part in connection.split(",")]
    places = [part for part in parts if "=" not in part]
    options: dict[str, Any] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if equals and name not in _OPTIONS:
            raise OnlineError(
                f"HEADRACE_REDIS has the option '{name[:40]}', which is none of {', '.join(_OPTIONS)}; remove it."
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
            f"HEADRACE_REDIS has {len(places)} servers; set one, host:port (a cluster is not supported, but replicas "
            "behind one address are)."
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


#: Entities per call of the script, which may put about 4000 on Lua's stack, and calls per round trip.
_BATCH, _CALLS = 1000, 10

#: Store values that are not older than the existing ones; compare numbers, because Lua compares text by locale.
_WRITE = f"""
local names, old = {{}}, nil
for i = 1, #ARGV, 2 do names[#names + 1] = ARGV[i] end
old = redis.call('HMGET', KEYS[1], unpack(names))
local put, stored = {{}}, 0
for i, name in ipairs(names) do
  local new, keep = ARGV[2 * i], true
  if old[i] then
    local a, b = string.sub(old[i], 1, {STAMP_BYTES}), string.sub(new, 1, {STAMP_BYTES})
    if a ~= b then
      local a1, a2, a3, a4 = struct.unpack('>I4I4I4I4', a)
      local b1, b2, b3, b4 = struct.unpack('>I4I4I4I4', b)
      if a1 ~= b1 then keep = a1 < b1 elseif a2 ~= b2 then keep = a2 < b2
      elseif a3 ~= b3 then keep = a3 < b3 else keep = a4 < b4 end
    end
  end
  if keep then
    put[2 * stored + 1], put[2 * stored + 2], stored = name, new, stored + 1
  end
end
if stored > 0 then redis.call('HSET', KEYS[1], unpack(put)) end
return stored
"""


class RedisValues(OnlineValues):
    """The online store in Redis. See :class:`feature_repo.online.values.OnlineValues`.

    Args:
        connection: see :func:`redis_address`.
        namespace: prefix of every name, so that several stacks can share a database.

    Raises:
        OnlineError: ``connection`` cannot be parsed.
    """

    def __init__(self, connection: str, namespace: str = "headrace") -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self.address = redis_address(connection)
        self._namespace = namespace
        self._client: Any = redis.Redis(
            self.address.host,
            self.address.port,
            **{"socket_timeout": 30.0, "socket_connect_timeout": 3.0, **self.address.options},
            retry=Retry(NoBackoff(), 1),  # reconnect once after a restart of the server
        )
        self._script = self._client.register_script(_WRITE)

    def write(self, layout: ViewLayout, rows: pa.Table) -> int:
        """Store rows, a thousand at a time; returns the number of entities that got a value."""
        from redis.exceptions import NoScriptError

        keys, values = pack(layout, rows)
        if not keys:
            return 0
        name = self._name(layout)
        flat: list[bytes] = [b""] * (2 * len(keys))
        flat[::2], flat[1::2] = keys, values
        stored, step = 0, 2 * _BATCH
        with self._answering():
            self._client.hset(self._name(layout, "layouts"), codec(layout.features).id, json.dumps(layout.features))
            for start in range(0, len(flat), step * _CALLS):
                end = min(start + step * _CALLS, len(flat))
                for attempt in (0, 1):
                    pipeline = self._client.pipeline(transaction=False)
                    for at in range(start, end, step):
                        pipeline.execute_command("EVALSHA", self._script.sha, 1, name, *flat[at : min(at + step, end)])
                    try:
                        stored += sum(pipeline.execute())
                        break
                    except NoScriptError:
                        if attempt:
                            raise
                        self._client.script_load(_WRITE)
        return stored

    def look_up(self, layouts: Sequence[ViewLayout], keys: Sequence[Sequence[bytes]]) -> Found:
        """Encoded values for each view's encoded keys, and each view's ``known_until``; one round trip."""
        with self._answering():
            found = self._ask(
                [
                    ("HMGET", self._name(layout), KNOWN_UNTIL, *wanted)
                    for layout, wanted in zip(layouts, keys, strict=True)
                ]
            )
        return Found([values[1:] for values in found], [moment_of(values[0]) for values in found])

    def written_layouts(self, layout: ViewLayout) -> dict[bytes, Features]:
        """Features of every layout of this view's stored values, by layout id."""
        with self._answering():
            held: dict[bytes, bytes] = self._client.hgetall(self._name(layout, "layouts"))
        return {key: tuple((name, kind) for name, kind in json.loads(value)) for key, value in held.items()}

    def delete(self, layout: ViewLayout, keys: Sequence[tuple[Any, ...]]) -> int:
        """Remove entities; returns the number of removed ones."""
        encoded = [key for values in keys if (key := encode_key(values)) is not None]
        with self._answering():
            pipeline = self._client.pipeline(transaction=False)
            for start in range(0, len(encoded), _BATCH):
                pipeline.hdel(self._name(layout), *encoded[start : start + _BATCH])
            return sum(pipeline.execute())

    def matching(self, layout: ViewLayout, join_key: str, value: Any) -> list[tuple[Any, ...]]:
        """Keys of all entities whose ``join_key`` has this value; scans the view's keys if it has several join keys."""
        place, part, count = layout.join_keys.index(join_key), component(value), len(layout.join_keys)
        if part is None:
            return []
        name = self._name(layout)
        with self._answering():
            if count == 1:
                return [decode_key(part, 1)] if self._client.hexists(name, part) else []
            pattern = b"|".join([b"*"] * place + [_plain(part)] + [b"*"] * (count - 1 - place))
            found = {key for key, _ in self._client.hscan_iter(name, match=pattern, count=5000)}
        decoded = [decode_key(key, count) for key in found]
        return [key for key in decoded if component(key[place]) == part]

    def count(self, layout: ViewLayout) -> int:
        """Number of the view's entities that have a value."""
        name = self._name(layout)
        with self._answering():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hlen(name)
            pipeline.hexists(name, KNOWN_UNTIL)
            fields, marked = pipeline.execute()
        return int(fields) - int(marked)

    def set_known_until(self, layout: ViewLayout, moment: datetime) -> None:
        """Record the as-of time of the view's materialization."""
        with self._answering():
            self._client.hset(self._name(layout), KNOWN_UNTIL, moment_bytes(moment))

    def clear(self, layout: ViewLayout) -> int:
        """Remove all data of the view; returns the number of removed entities."""
        number = self.count(layout)
        with self._answering():
            self._client.unlink(self._name(layout), self._name(layout, "layouts"))
        return number

    def memory(self, layout: ViewLayout) -> int:
        """Memory of the view on the server in bytes, by the server's estimate from a sample."""
        with self._answering():
            return int(self._client.memory_usage(self._name(layout), samples=1000) or 0)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, commands: Sequence[tuple[str | bytes, ...]]) -> list[Any]:
        """Replies to repeatable commands, in one round trip; a pipeline object would take longer than Redis itself."""
        from redis.exceptions import ConnectionError

        pool = self._client.connection_pool
        for again in (True, False):
            connection = pool.get_connection()
            try:
                connection.send_packed_command(connection.pack_commands(commands))
                return [connection.read_response() for _ in commands]
            except BaseException as error:
                connection.disconnect()  # unread replies may be left in it
                if not (again and isinstance(error, ConnectionError)):
                    raise
            finally:
                pool.release(connection)
        raise AssertionError

    def _name(self, layout: ViewLayout, part: str = "values") -> str:
        return f"{{{self._namespace}:{layout.project}:{layout.view}}}:{part}"

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn the client's errors into one sentence without a password."""
        from redis.exceptions import AuthenticationError, ConnectionError, MovedError, RedisError, TimeoutError

        place = f"The online store, Redis at {self.address},"
        try:
            yield
        except AuthenticationError as error:
            raise OnlineError(
                f"{place} refused the login ({error}); correct password and username in HEADRACE_REDIS."
            ) from error
        except (ConnectionError, TimeoutError) as error:
            raise OnlineError(f"{place} does not answer ({error}); start it, or correct HEADRACE_REDIS.") from error
        except MovedError as error:
            raise OnlineError(
                f"{place} is part of a cluster, which is not supported; set HEADRACE_REDIS to a single server."
            ) from error
        except RedisError as error:
            raise OnlineError(f"{place} refused: {error}; see the server's settings and memory.") from error


def _plain(part: bytes) -> bytes:
    """A pattern that matches ``part`` alone."""
    for sign in (b"\\", b"*", b"?", b"[", b"]"):
        part = part.replace(sign, b"\\" + sign)
    return part
