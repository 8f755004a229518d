"""kill -9 of the search's driver, and of its Ray worker: it ends as one that nothing happened to. And SIGTERM."""

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


def start(address: str, home: Path, *reports: int) -> subprocess.Popen[str]:
    module = [sys.executable, "-m", "tests.ray_cluster.training.search.searching", address, str(home)]
    arguments = [*module, *map(str, reports)]
    return subprocess.Popen(arguments, cwd=CONFIGS.parent, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> tuple[Any, list[str]]:
    """What a search found, and its reports."""
    *reports, last = process.communicate(timeout=400)[0].strip().splitlines()
    assert process.returncode == 0
    return json.loads(last), [line for line in reports if line.startswith("report ")]


@pytest.fixture(scope="module")
def undisturbed(address: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return result(start(address, tmp_path_factory.mktemp("whole")))[0]


def in_the_middle(home: Path) -> None:
    """Wait until trials have checkpoints."""
    limit = time.monotonic() + 300
    while len(list((home / "tune" / "key").glob("trial-*.pkl"))) < 2:
        assert time.monotonic() < limit
        time.sleep(0.02)


def processes() -> list[psutil.Process]:
    """Those of the search's actors."""
    ours = psutil.Process().children(recursive=True)
    names = ("ray::Worker", "ray::SearchTrial", "ray::ResourceTrainable")  # the last while it runs a method
    return [each for each in ours if each.is_running() and "".join(each.cmdline()[:1]).startswith(names)]


@pytest.mark.parametrize("reports", (1, 9, 60))
def test_the_driver(address: str, tmp_path: Path, undisturbed: Any, reports: int) -> None:
    process = start(address, tmp_path, reports)
    before = process.communicate(timeout=400)[0].splitlines()
    assert process.returncode == -signal.SIGKILL and len(before) == reports
    assert (tmp_path / "tune" / "key" / "experiment" / "tuner.pkl").is_file()
    found, after = result(start(address, tmp_path))
    assert found == undisturbed
    assert not (tmp_path / "tune" / "key").exists()
    again = set(before) & set(after)  # what was reported is not done again; a trial that is done says so again
    assert all(line.endswith(" last") for line in again)


def test_the_driver_and_what_it_was_writing(address: str, tmp_path: Path, undisturbed: Any) -> None:
    """Tune's state is half written: trials go on from their own checkpoints."""
    start(address, tmp_path, 30).communicate(timeout=400)
    [state] = (tmp_path / "tune" / "key" / "experiment").glob("experiment_state-*.json")
    state.write_bytes(state.read_bytes()[:200])
    assert result(start(address, tmp_path))[0] == undisturbed


def test_the_worker(address: str, tmp_path: Path, undisturbed: Any) -> None:
    process = start(address, tmp_path)
    in_the_middle(tmp_path)
    workers = [each for each in processes() if each.cmdline()[0].startswith("ray::Worker")]
    assert len(workers) == 1
    os.kill(workers[0].pid, signal.SIGKILL)
    assert result(process)[0] == undisturbed


def test_a_cancelled_search_leaves_no_actor_and_goes_on_later(address: str, tmp_path: Path, undisturbed: Any) -> None:
    process = start(address, tmp_path)
    in_the_middle(tmp_path)
    kinds = {each.cmdline()[0].startswith("ray::Worker") for each in processes()}
    assert kinds == {True, False}  # the worker, and Tune's trials
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    limit = time.monotonic() + 60
    while processes():
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert result(start(address, tmp_path))[0] == undisturbed
