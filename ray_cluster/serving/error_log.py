"""The error log of one Serve application: ``logs/serving/<application>.log`` under home.

Ray Serve's log of a replica is not suitable for errors: in throughput mode it is a buffer of 1,000 records in memory,
which is lost with the process, and it logs standard error at level INFO.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from traceback import format_exception
from typing import Any

from configs.settings import Settings
from feature_repo.storage.files import locked

__all__ = ["ErrorLog", "error_log_path", "log_errors"]

#: A log that would exceed this size is renamed to ``….log.1``, replacing the previous one; a record is cut to the
#: second size by removing its middle.
MOST_BYTES, MOST_RECORD_BYTES = 10_000_000, 100_000


def error_log_path(settings: Settings, application: str) -> Path:
    """The file with the warnings and errors of an application's replicas."""
    return settings.home / "logs" / "serving" / f"{application}.log"


class _Formatter(logging.Formatter):
    """UTC time, level, process id, logger and message, and the traceback below."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s process %(process)d %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        self.converter = time.gmtime

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """The traceback, not by ``print``, which Serve replaces in a replica and which garbles file output."""
        return "".join(format_exception(*ei)).rstrip("\n")


class ErrorLog(logging.Handler):
    """Append records to a file that several processes share.

    Each record is written by one system call before the logging call returns, so it survives a kill of the process.

    Args:
        settings: their home contains the file and its lock.
        application: the name of the Serve application.
        most_bytes: the largest size of the file.
    """

    def __init__(self, settings: Settings, application: str, most_bytes: int = MOST_BYTES) -> None:
        super().__init__(logging.WARNING)
        self.path = error_log_path(settings, application)
        self._home, self._lock_name, self._most = settings.home, f"error-log-{application}", most_bytes
        self.setFormatter(_Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            content = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            if len(content) > MOST_RECORD_BYTES:
                half = MOST_RECORD_BYTES // 2
                left_out = f"\n… {len(content) - 2 * half} bytes left out …\n".encode()
                content = content[:half] + left_out + content[-half:]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._home, self._lock_name):
                if self.path.exists() and self.path.stat().st_size + len(content) > self._most:
                    self.path.replace(self.path.with_name(f"{self.path.name}.1"))
                descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                try:
                    os.write(descriptor, content)
                finally:
                    os.close(descriptor)
        except Exception:
            self.handleError(record)


def log_errors(settings: Settings, application: str) -> None:
    """Write the warnings and errors of all loggers of this process to the application's error log."""
    root = logging.getLogger()
    if not any(isinstance(handler, ErrorLog) for handler in root.handlers):
        root.addHandler(ErrorLog(settings, application))
