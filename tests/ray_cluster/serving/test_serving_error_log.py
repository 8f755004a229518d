"""Tracebacks of failed requests are in a file, whatever happens to the process next."""

from __future__ import annotations

import builtins
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from configs import Settings, load_settings
from ray_cluster.serving.error_log import MOST_RECORD_BYTES, ErrorLog, error_log_path

#: An application that answers errors and logs as a replica does, and fails.
SERVER = """
import sys
import uvicorn
from fastapi import FastAPI
from configs import load_settings
from ray_cluster.serving.error_log import log_errors
from ray_cluster.serving.errors import install

app = FastAPI()
install(app)
log_errors(load_settings(), "flight_delay")

@app.post("/predict")
async def predict():
    raise ConnectionError("the online store is away")

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(variables={"HEADRACE_HOME": str(tmp_path)})


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "HEADRACE_HOME": str(settings.home)}
    with subprocess.Popen([sys.executable, "-c", SERVER, str(port)], env=environment) as process:
        try:
            url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
            while True:
                try:
                    httpx.get(f"{url}/docs", trust_env=False)
                    break
                except httpx.TransportError:
                    assert process.poll() is None and time.monotonic() < deadline
                    time.sleep(0.1)
            yield process, url
        finally:
            process.kill()


def test_the_traceback_of_a_500_outlives_the_process(
    settings: Settings, served: tuple[subprocess.Popen[bytes], str]
) -> None:
    process, url = served
    answer = httpx.post(f"{url}/predict", trust_env=False)
    process.kill()
    assert answer.status_code == 500
    text = error_log_path(settings, "flight_delay").read_text()
    heading = f"ERROR process {process.pid} ray_cluster.serving.errors: error_id {answer.json()['error_id']}: "
    assert f"{heading}POST '/predict' failed\nTraceback (most recent call last):" in text
    assert text.endswith("ConnectionError: the online store is away\n")


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("test", logging.ERROR, "", 0, message, None, None)


def test_several_writers_lose_no_record_and_the_log_stays_small(settings: Settings) -> None:
    logs = [ErrorLog(settings, "flight_delay", most_bytes=20_000) for _ in range(4)]

    def write(number: int) -> None:
        logs[number % 4].emit(record(f"<{number}>"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(80)))
    path = error_log_path(settings, "flight_delay")
    lines = path.read_text().splitlines()
    assert sorted(int(line.partition("<")[2][:-1]) for line in lines) == list(range(80))
    for number in range(1000):
        logs[0].emit(record(f"{number} " + "x" * 100))
    kept = sorted(each for each in path.parent.iterdir() if each.is_file())
    assert [each.name for each in kept] == ["flight_delay.log", "flight_delay.log.1"]
    assert all(each.stat().st_size <= 20_000 for each in kept)
    assert "test: 999 xxx" in kept[0].read_text().splitlines()[-1]


def test_the_middle_of_a_huge_record_is_left_out(settings: Settings) -> None:
    ErrorLog(settings, "flight_delay").emit(record("first " + "x" * 10_000_000 + " last"))
    text = error_log_path(settings, "flight_delay").read_text()
    assert "test: first xxx" in text and text.endswith(" last\n")
    assert " bytes left out …" in text
    assert len(text) < MOST_RECORD_BYTES + 100


def test_a_traceback_is_whole_where_print_is_replaced(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = print

    def garbling(*parts: object, file: Any = None, **options: Any) -> None:
        plain(parts, file=file, **options)  # as Serve's own print in a replica does (ray.serve logging_utils)

    monkeypatch.setattr(builtins, "print", garbling)
    log = ErrorLog(settings, "flight_delay")
    try:
        raise ConnectionError("the online store is away")
    except ConnectionError as error:
        failed = logging.LogRecord(
            "test", logging.ERROR, "", 0, "failed", None, (type(error), error, error.__traceback__)
        )
    log.emit(failed)
    lines = log.path.read_text().splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-2:] == [
        '    raise ConnectionError("the online store is away")',
        "ConnectionError: the online store is away",
    ]
