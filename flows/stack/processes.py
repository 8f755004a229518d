"""Start a service as a separate process group, record it, and stop all its processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from configs.errors import HeadraceError
from configs.settings import Settings
from feature_repo.storage.files import write_json
from flows.stack.services import MARK, Service, ray_folder

__all__ = ["Record", "StackError", "end", "log_path", "processes_of", "read_record", "start", "stop", "tail"]

GRACE_SECONDS = 10.0


class StackError(HeadraceError, RuntimeError):
    """A server cannot be started, used or stopped; the message is one sentence."""


@dataclass(frozen=True)
class Record:
    """A started service: its process id, and the process's creation time, because ids are reused."""

    service: str
    pid: int
    created: float

    def process(self) -> psutil.Process | None:
        """The process if it runs; None if it ended, also if another process has its id now."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 0.05
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def log_path(settings: Settings, name: str) -> Path:
    """The log of the service's current or last run; the previous run's is ``<name>.1.log``."""
    return settings.home / "logs" / f"{name}.log"


def record_path(settings: Settings, name: str) -> Path:
    """The path of the service's record."""
    return settings.home / "run" / f"{name}.json"


def read_record(settings: Settings, name: str) -> Record | None:
    """The record of a service, or None if there is no readable one."""
    try:
        return Record(**json.loads(record_path(settings, name).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def start(settings: Settings, service: Service) -> Record:
    """Start a service in a new session, with its output in its log, and write its record.

    Raises:
        StackError: the program is not installed.
    """
    log = log_path(settings, service.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".1.log"))
    command = service.command if service.urgent else ("nice", "-n", "5", *service.command)
    try:
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **service.environment},
                cwd=service.folder if service.folder and service.folder.is_dir() else settings.home,
                start_new_session=True,
            )
    except FileNotFoundError:
        raise StackError(
            f"{service.title} cannot start: {service.command[0]} does not exist; install the project into this "
            "Python environment (`uv sync`), or run `headrace doctor`."
        ) from None
    record = Record(service.name, child.pid, _created(child.pid))
    path = record_path(settings, service.name)
    write_json(path, asdict(record))
    return record


def stop(settings: Settings, names: Iterable[str]) -> int:
    """Stop services and all their processes.

    Each service gets SIGTERM and ``GRACE_SECONDS`` to end itself and its children; remaining processes are ended by
    :func:`end`. A record whose process ended, or whose id belongs to another process now, is only deleted.

    Returns:
        number of ended processes.
    """
    names = list(names)
    records = [read_record(settings, name) for name in names]
    roots = [root for record in records if record and (root := record.process())]
    family: dict[int, psutil.Process] = {}
    for root in roots:
        family.update({process.pid: process for process in _family(root)})
    _send(roots, signal.SIGTERM)
    psutil.wait_procs(roots, timeout=GRACE_SECONDS)
    for root in roots:
        family.update({process.pid: process for process in _family(root)})
    end([process for process in family.values() if process.is_running()])
    for name in names:
        record_path(settings, name).unlink(missing_ok=True)
    return len(family)


def end(processes: list[psutil.Process]) -> None:
    """End processes: SIGTERM, two seconds, SIGKILL; returns when all have ended, or after ``GRACE_SECONDS``."""
    _send(processes, signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=2)
    deadline = time.monotonic() + GRACE_SECONDS
    while alive and time.monotonic() < deadline:
        _send(alive, signal.SIGKILL)
        _, alive = psutil.wait_procs(alive, timeout=1)


def processes_of(settings: Settings, *, only_ray: bool = False) -> list[psutil.Process]:
    """Every process of this stack, also those in separate sessions whose parents have ended.

    A process belongs to the stack if its environment has the mark, its command line contains the stack's Ray folder,
    or, for Ray's workers, which overwrite both, it has a file below that folder open.
    """
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    others = (process for process in psutil.process_iter() if process.pid not in own)
    return [process for process in others if _belongs(process, settings, only_ray)]


def _belongs(process: psutil.Process, settings: Settings, only_ray: bool) -> bool:
    folder = f"{ray_folder(settings)}/"
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        words = process.cmdline()
        if any(folder in f"{word}/" for word in words):
            return True
        if words and words[0].startswith("ray") and any(file.path.startswith(folder) for file in process.open_files()):
            return True
        mark: str | None = None if only_ray else process.environ().get(MARK)
        return mark == str(settings.home)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def tail(path: Path, lines: int = 8) -> str:
    """The last non-empty lines of a log, joined by `` | `` (an empty string for a missing file)."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])


def _family(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _created(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0.0


def _send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
