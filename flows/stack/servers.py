"""Start and stop the servers of an environment, and report their status."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import psutil

from configs.reading import nearest
from configs.settings import Settings
from flows.stack.databases import prepare
from flows.stack.probing import create_work_pool, is_free, is_ready, owner
from flows.stack.processes import StackError, end, log_path, processes_of, read_record, start, stop, tail
from flows.stack.services import Service, ray_folder, services

__all__ = ["Health", "Progress", "down", "health", "require", "up", "wait"]

State = Literal["ready", "starting", "stopped"]
#: Called with each service and its state as it changes.
Progress = Callable[[Service, State], None]
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Health:
    """Status of one service: ``starting``: runs, but does not answer yet. ``memory`` is the whole tree's RSS, bytes."""

    service: Service
    state: State
    pid: int | None
    memory: int


def up(
    settings: Settings,
    on_progress: Progress | None = None,
    *,
    names: Iterable[str] | None = None,
    wait_for: Iterable[str] | None = None,
) -> None:
    """Start the services that are not running, in parallel unless one needs another.

    A repeated call is safe: a service that answers is not changed, one that died is started again.

    Args:
        names: only these services (default all).
        wait_for: return when these are ready (default: all that were started; services that others need are always
            waited for). The rest continue to start: see :func:`wait`.

    Raises:
        StackError: a port is taken, a service died, or it did not answer within ``start_timeout`` seconds.
    """
    chosen = _chosen(settings, names)
    awaited = {service.name for service in _chosen(settings, wait_for, [service.name for service in chosen])}
    with _locked(settings):
        prepare(settings)
        first = [service for service in chosen if not service.after]
        for service in first:
            _ensure(settings, service, on_progress)
        later = [service for service in chosen if service.after]
        needed = {name for service in later for name in service.after}
        _await(settings, [service for service in first if service.name in awaited | needed], on_progress)
        if any(service.name == "prefect" and service.name in awaited | needed for service in first):
            create_work_pool(settings)
        for service in later:
            _ensure(settings, service, on_progress)
        _await(settings, [service for service in later if service.name in awaited], on_progress)


def wait(settings: Settings, names: Iterable[str] | None = None, on_progress: Progress | None = None) -> None:
    """Return when the services (default all) are ready.

    Raises:
        StackError: one is not running, or does not answer within ``start_timeout`` seconds.
    """
    _await(settings, _chosen(settings, names), on_progress)


def down(settings: Settings) -> int:
    """Stop all processes of this stack and return their number; does nothing if none runs.

    Prefect is stopped last, so that a stopped flow can still report its state.
    """
    with _locked(settings):
        order = [service.name for service in reversed(services(settings))]
        ended = stop(settings, [name for name in order if name == "schedules"])
        ended += stop(settings, [name for name in order if name != "schedules"])
        while left := processes_of(settings):
            ended += len(left)
            end(left)
        shutil.rmtree(ray_folder(settings), ignore_errors=True)
    return ended


def health(settings: Settings) -> list[Health]:
    """Current status of each service; takes at most a second per service that does not answer."""
    return [_health(settings, service) for service in services(settings)]


def require(settings: Settings, name: str) -> None:
    """Raise an error unless a service answers.

    Raises:
        StackError: it does not answer.
    """
    service = _chosen(settings, [name])[0]
    if not is_ready(settings, service):
        raise StackError(f"{service.title} does not answer at {service.address}: start the stack with `headrace up`.")


def _health(settings: Settings, service: Service) -> Health:
    record = read_record(settings, service.name)
    process = record.process() if record else None
    if process is None:
        return Health(service, "stopped", None, 0)
    memory = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            memory += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return Health(service, "ready" if is_ready(settings, service) else "starting", process.pid, memory)


def _chosen(settings: Settings, names: Iterable[str] | None, default: list[str] | None = None) -> list[Service]:
    known = {service.name: service for service in services(settings)}
    wanted = (default if default is not None else list(known)) if names is None else list(names)
    for name in wanted:
        if name not in known and not (name == "ray" and settings.ray.address):
            raise StackError(f"There is no service '{name}'.{nearest(name, list(known))} Known: {', '.join(known)}.")
    return [service for name, service in known.items() if name in wanted]


def _ensure(settings: Settings, service: Service, on_progress: Progress | None) -> None:
    """Start a service unless it runs; one that has been silent for longer than ``start_timeout`` is started again."""
    record = read_record(settings, service.name)
    process = record.process() if record else None
    if process is not None:
        young = time.time() - process.create_time() < settings.start_timeout
        if young or is_ready(settings, service):
            return
    if record is not None:
        stop(settings, [service.name])
    if service.name == "ray":
        end(processes_of(settings, only_ray=True))  # left by a head that was killed
        shutil.rmtree(ray_folder(settings), ignore_errors=True)
    for port in service.ports:
        if not is_free(settings.host, port):
            raise StackError(
                f"{service.title} cannot start: port {port} is taken by {owner(port)}; end that process, or set "
                "HEADRACE_PORT_OFFSET to a number that is added to every port, such as 100."
            )
    start(settings, service)
    if on_progress:
        on_progress(service, "starting")


def _await(settings: Settings, waiting: list[Service], on_progress: Progress | None) -> None:
    deadline = time.monotonic() + settings.start_timeout
    pending = list(waiting)
    while pending:
        for service in list(pending):
            record = read_record(settings, service.name)
            log = log_path(settings, service.name)
            if record is None:
                raise StackError(f"{service.title} is not running: start it with `headrace up`.")
            if record.process() is None:
                raise StackError(f"{service.title} died while starting; its log {log} ends: {tail(log)}")
            if is_ready(settings, service):
                pending.remove(service)
                if on_progress:
                    on_progress(service, "ready")
            elif time.monotonic() > deadline:
                raise StackError(
                    f"{service.title} does not answer at {service.address} after {settings.start_timeout:g} s; raise "
                    f"start_timeout, or see its log {log}, which ends: {tail(log)}"
                )
        if pending:
            time.sleep(POLL_SECONDS)


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """One `up` or `down` at a time; the lock is released when its process ends."""
    from filelock import FileLock, Timeout

    folder = settings.home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "stack.lock")
    try:
        lock.acquire(timeout=settings.start_timeout)
    except Timeout:
        raise StackError(
            f"Another `headrace up` or `down` is running in {settings.home}; wait for it, or end it and try again."
        ) from None
    try:
        yield
    finally:
        lock.release()
