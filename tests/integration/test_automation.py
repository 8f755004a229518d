"""What Prefect starts by itself: a schedule that is due, and training when monitoring says so."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import httpx
import pytest

from ray_cluster import registry

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def api(headrace, lifecycle):
    with httpx.Client(base_url=f"{headrace.settings.url('prefect')}/api", timeout=30, trust_env=False) as found:
        yield found


def deployment(api: httpx.Client, name: str) -> dict[str, Any]:
    answer = api.get(f"/deployments/name/{name}/headrace")
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait_for_run(api: httpx.Client, deployment_id: str, kind: str, seconds: float) -> dict[str, Any]:
    """The first completed run of a deployment that was created by ``kind``."""
    deadline = time.monotonic() + seconds
    seen: list[Any] = []
    while time.monotonic() < deadline:
        seen = api.post(
            "/flow_runs/filter", json={"deployments": {"id": {"any_": [deployment_id]}}, "sort": "START_TIME_DESC"}
        ).json()
        for run in seen:
            if (run["created_by"] or {}).get("type") == kind and run["state_type"] in (
                "COMPLETED",
                "FAILED",
                "CRASHED",
            ):
                return run
        time.sleep(1)
    raise AssertionError(f"no run by {kind} within {seconds} s: {[(run['name'], run['state_name']) for run in seen]}")


def test_every_flow_is_served_with_its_schedule(api, headrace):
    for name in ("ingest", "materialize", "train", "register", "deploy", "score", "monitor", "lifecycle"):
        served = deployment(api, name)
        planned = headrace.settings.schedules.get(name)
        crons = [each["schedule"]["cron"] for each in served["schedules"]]
        assert crons == ([planned.cron] if planned else [])


@pytest.fixture(scope="module")
def every_minute(api):
    """The id of the deployment ``ingest``, which has a second schedule as long as the file's last tests run."""
    served = deployment(api, "ingest")
    made = api.post(
        f"/deployments/{served['id']}/schedules",
        json=[{"active": True, "schedule": {"cron": "* * * * *", "timezone": "UTC"}}],
    )
    assert made.status_code == 201, made.text
    yield served["id"]
    api.delete(f"/deployments/{served['id']}/schedules/{made.json()[0]['id']}")


def test_drift_starts_training(api, headrace, every_minute):
    """The event that `monitor` emits when its verdict is to retrain trains, registers and says so."""
    before = len(registry.versions(headrace.settings, "flight_delay"))
    emitted = subprocess.run(
        [
            sys.executable,
            "-c",
            "from datetime import UTC, datetime\n"
            "from flows.monitor import announce_drift\n"
            "announce_drift('flight_delay', datetime(2013, 3, 27, tzinfo=UTC), 1, ['told by a test'])",
        ],
        env={**headrace.environment, **headrace.settings.variables()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert emitted.returncode == 0, emitted.stderr
    run = wait_for_run(api, deployment(api, "train")["id"], "AUTOMATION", 240)
    assert run["state_type"] == "COMPLETED", run["state"]
    assert run["parameters"]["model"] == "flight_delay"
    assert run["parameters"]["as_of"].startswith("2013-03-27") and run["parameters"]["promote"] is True
    versions = registry.versions(headrace.settings, "flight_delay")
    assert len(versions) == before + 1 and versions[0].tags["headrace.decision"]


def test_a_schedule_fires(api, every_minute):
    """After the test of drift, which takes the minute that this one would wait."""
    run = wait_for_run(api, every_minute, "SCHEDULE", 200)
    assert run["state_type"] == "COMPLETED", run["state"]
