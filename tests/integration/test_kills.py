"""kill -9 in the middle of a step, then the same command again: it finishes, with one new version at most."""

from __future__ import annotations

import signal
import time

import pytest

from feature_repo.materialization.view_files import state
from ray_cluster import registry

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_materialize(headrace, lifecycle):
    as_of = "2013-03-29T09:00:00Z"
    for view in (headrace.settings.home / "features").glob("*.parquet"):
        view.unlink()
    process = headrace.start("run", "materialize", "--as-of", as_of)
    time.sleep(9)
    process.send_signal(signal.SIGKILL)
    process.wait()
    headrace.run("materialize", "--as-of", as_of)
    for name in ("weather", "carrier_stats", "plane_stats"):
        held = state(headrace.settings, name)
        assert held.online_until.startswith("2013-03-29T09")
    assert not list((headrace.settings.home / "features").glob(".*.tmp"))


def test_train_and_register(headrace, lifecycle):
    before = {facts.version for facts in registry.versions(headrace.settings, "flight_delay")}
    arguments = ("train", "--model", "flight_delay", "--as-of", "2013-03-24T20:00:00Z", "--param", "promote=true")
    process = headrace.start("run", *arguments)
    time.sleep(20)
    process.send_signal(signal.SIGKILL)
    process.wait()
    headrace.run(*arguments)
    after = {facts.version for facts in registry.versions(headrace.settings, "flight_delay")}
    assert len(after - before) == 1
    assert registry.champion(headrace.settings, "flight_delay") is not None


def test_deploy(headrace, lifecycle):
    champion = registry.champion(headrace.settings, "flight_delay").version
    for seconds in (4, 6, 8):
        process = headrace.start("run", "deploy", "--model", "flight_delay")
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert headrace.run("deploy", "--model", "flight_delay")["version"] == champion
