"""kill -9 of the search's driver, and of its Ray worker: it ends as one that nothing happened to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from configs.settings import CONFIGS

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    import ray

    ray.init(num_cpus=2, object_store_memory=80_000_000, include_dashboard=False, log_to_driver=False)
    yield str(ray.get_runtime_context().gcs_address)
    ray.shutdown()


def start(address: str, home: Path) -> subprocess.Popen[str]:
    module = [sys.executable, "-m", "tests.ray_cluster.training.search.searching"]
    return subprocess.Popen([*module, address, str(home)], cwd=CONFIGS.parent, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> Any:
    out = process.communicate(timeout=400)[0]
    assert process.returncode == 0
    return json.loads(out.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def undisturbed(address: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return result(start(address, tmp_path_factory.mktemp("whole")))


def in_the_middle(home: Path) -> None:
    """Wait until trials have checkpoints."""
    limit = time.monotonic() + 300
    while len(list((home / "tune" / "key").glob("trial-*.npz"))) < 2:
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_the_driver(address: str, tmp_path: Path, undisturbed: Any) -> None:
    process = start(address, tmp_path)
    in_the_middle(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "tune" / "key" / "study.journal").is_file()
    assert result(start(address, tmp_path)) == undisturbed
    assert not (tmp_path / "tune" / "key").exists()


def test_the_worker(address: str, tmp_path: Path, undisturbed: Any) -> None:
    process = start(address, tmp_path)
    in_the_middle(tmp_path)
    ours = psutil.Process().children(recursive=True)
    workers = [each for each in ours if each.is_running() and each.cmdline()[:1] and "ray::Worker" in each.cmdline()[0]]
    assert len(workers) == 1
    os.kill(workers[0].pid, signal.SIGKILL)
    assert result(process) == undisturbed
