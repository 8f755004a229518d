"""What all tests share: property tests judge what is computed, not how fast a busy machine draws the examples; the
environment that one file's tests change is restored for the next; and the whole suite runs in two processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("headrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("headrace")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for the whole suite; none besides pytest's own where files or tests are named."""
    return 2 if config.args_source is config.ArgsSource.TESTPATHS else 0


#: Folders whose tests share a server, by a session fixture. The first takes longest, so it is begun first.
ON_ONE_SERVER = ("integration/", "ray_cluster/registry/")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of a file in one process, as they share fixtures; and those on one server in one process."""

    def place(item: pytest.Item) -> int:
        file = item.path.relative_to(item.config.rootpath / "tests").as_posix()
        folders = [number for number, folder in enumerate(ON_ONE_SERVER) if file.startswith(folder)]
        item.add_marker(pytest.mark.xdist_group(ON_ONE_SERVER[folders[0]] if folders else file))
        return folders[0] if folders else len(ON_ONE_SERVER)

    items.sort(key=place)


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
