"""What all tests share: property tests judge what is computed, not how fast a busy machine draws the examples; the
environment that one file's tests change is restored for the next; and the whole suite runs in two processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("headrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("headrace")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for the whole suite; none besides pytest's own where files or tests are named."""
    return 2 if config.args_source is config.ArgsSource.TESTPATHS else 0


#: Folders whose tests share a server, by a session fixture.
ON_ONE_SERVER = ("tests/integration/", "tests/ray_cluster/registry/")
#: A file there that starts a stack of its own.
ON_ITS_OWN = "tests/integration/test_production.py"
#: What takes longest comes first, so that the processes end together. What reads the first version that the integration
#: tests' stack registers comes before what trains another.
FIRST = (
    *(f"tests/integration/test_{name}.py" for name in ("lifecycle", "endpoint", "breaking_changes", "reproduce")),
    *ON_ONE_SERVER,
    "tests/ray_cluster/",
)


def scope(nodeid: str) -> str:
    """What runs in one process: a file, as its tests share fixtures, or a folder whose tests share a server."""
    file = nodeid.partition("::")[0]
    folders = [folder for folder in ON_ONE_SERVER if file.startswith(folder) and file != ON_ITS_OWN]
    return folders[0] if folders else file


class ByScope(LoadScopeScheduling):
    """Gives a worker one :func:`scope` after the other, in the order of the collection."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByScope:
    return ByScope(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by :data:`FIRST`."""

    def place(item: pytest.Item) -> int:
        return next((number for number, folder in enumerate(FIRST) if item.nodeid.startswith(folder)), len(FIRST))

    items.sort(key=place)


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
