"""One real stack for the whole folder: servers on ports of their own, a small lifecycle by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from configs import Settings, load_settings
from flows.stack.processes import processes_of
from flows.stack.services import ray_folder
from tests.ports import free_offset

ENVIRONMENTS = Path(__file__).parents[1] / "environments"
#: Arguments of a lifecycle with four days of traffic, two hours of each.
PERIOD = ("--param", "until=2013-03-28T00:00:00Z", "--param", "hours=[12, 20]")


@dataclass(frozen=True)
class Headrace:
    """The command line, pointed at one stack."""

    environment: Mapping[str, str]
    settings: Settings

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli.app", *arguments],
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, timeout: float = 500) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows.cli.app", *arguments],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def run(self, *arguments: str) -> Any:
        """Run a flow and return its result."""
        done = self("run", *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)


def stack(home: Path, environment: str, **more: str) -> Headrace:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "PREFECT_"))}
    variables |= {
        "HEADRACE_ENV": str(ENVIRONMENTS / environment),
        "HEADRACE_HOME": str(home),
        "HEADRACE_PORT_OFFSET": str(free_offset()),
        **more,
    }
    return Headrace(variables, load_settings(None, variables))


@pytest.fixture(scope="session")
def headrace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Headrace]:
    found = stack(tmp_path_factory.mktemp("stack") / "home", "embedded")
    try:
        up = found("up", timeout=400)
        assert up.returncode == 0, up.stderr[-3000:]
        yield found
    finally:
        down = found("down")
    assert down.returncode == 0, down.stderr[-3000:]
    assert processes_of(found.settings) == [] and not ray_folder(found.settings).exists()


@pytest.fixture(scope="session")
def lifecycle(headrace: Headrace) -> dict[str, Any]:
    """What the first lifecycle run on this stack returned."""
    return headrace.run("lifecycle", "--model", "flight_delay", *PERIOD)
