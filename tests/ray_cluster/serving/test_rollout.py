"""A real Ray Serve over real HTTP: deploy, roll over under load, refuse, undeploy."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml

from configs import ConfigError, Settings, load_model, load_settings
from ray_cluster.serving.error_log import error_log_path
from ray_cluster.serving.prediction_log import read_predictions
from ray_cluster.serving.rollout import ServeError, deploy, live, restore, smoke_test, undeploy
from tests.ports import free_offset

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

SPEC = load_model("flight_delay")
ROW = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "ORD",
    "tailnum": "N14228",
    "scheduled_departure": "2013-12-16T15:30:00Z",
    "scheduled_arrival": "2013-12-16T18:05:00Z",
}
KNOWN_UNTIL = re.compile(r'ray_headrace_view_known_until_seconds{.*view="carrier_stats"')
#: What a documentation page of FastAPI loads.
ADDRESS = re.compile(r"""(?:(?:src|href|spec-url)=["']|url: ')([^"']+)""")
STAND_INS = {"reader": "stand_ins:FailingReader", "loader": "stand_ins:load"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("home")
    settings = load_settings(variables={"HEADRACE_HOME": str(home), "HEADRACE_PORT_OFFSET": str(free_offset())})
    ports = settings.ports
    short = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # Ray's socket paths must stay under 107 bytes
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "HEADRACE_"))}
    patience = dict.fromkeys(
        ("RAY_DASHBOARD_STARTUP_TIMEOUT_S", "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT"), "180"
    )
    command = [
        sys.executable,
        "-m",
        "flows.stack.ray_head",
        "start",
        "--head",
        "--block",
        "--node-ip-address=127.0.0.1",
        f"--port={ports['ray']}",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={ports['ray_dashboard']}",
        f"--dashboard-agent-listen-port={ports['ray_agent']}",
        f"--metrics-export-port={ports['ray_metrics']}",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--num-cpus=2",
        "--object-store-memory=100000000",
        f"--temp-dir={short}",
    ]
    with (home / "ray.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={
                **inherited,
                **patience,
                "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",  # as `headrace up` does
                "RAY_USAGE_STATS_ENABLED": "0",
                "PYTHONPATH": str(Path(__file__).parent),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + 180
            while True:
                try:
                    httpx.get(f"{settings.url('ray_dashboard')}/api/serve/applications/", timeout=5).raise_for_status()
                    break
                except httpx.HTTPError:
                    assert process.poll() is None, (home / "ray.log").read_text()
                    assert time.monotonic() < deadline, (home / "ray.log").read_text()
                    time.sleep(0.5)
            yield settings
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
            shutil.rmtree(short, ignore_errors=True)


class Load(threading.Thread):
    """Sends requests one after the other until told to stop, and counts the answers."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.stopped = url, threading.Event()
        self.answers: Counter[object] = Counter()

    def run(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self.stopped.is_set():
                try:
                    answer = client.post(self.url, json=ROW)
                    self.answers[answer.json()["version"] if answer.status_code == 200 else answer.text] += 1
                except httpx.HTTPError as error:
                    self.answers[repr(error)] += 1


def test_life_of_an_application(stack: Settings) -> None:
    first = deploy(stack, SPEC, 1, timeout=180, **STAND_INS)
    assert (first.action, first.previous) == ("deployed", None)
    assert deploy(stack, SPEC, 1, **STAND_INS).action == "unchanged"
    assert smoke_test(stack, SPEC, ROW, version=1)["probability"] == pytest.approx(0.115)

    load = [Load(f"{first.url}/predict") for _ in range(4)]
    for thread in load:
        thread.start()
    time.sleep(1)
    second = deploy(stack, SPEC, 5, timeout=180, **STAND_INS)  # takes three seconds to load
    time.sleep(1)
    with pytest.raises(ServeError, match="needs the features moon_phase"):
        deploy(stack, SPEC, 9, timeout=180, **STAND_INS)
    with pytest.raises(ServeError, match="there is no version 13"):
        deploy(stack, SPEC, 13, timeout=180, **STAND_INS)
    for thread in load:
        thread.stopped.set()
    for thread in load:
        thread.join()
    answers: Counter[object] = sum((thread.answers for thread in load), Counter())
    assert (second.previous, second.action) == (1, "deployed")
    assert set(answers) == {1, 5}, answers
    assert live(stack)[SPEC.name]["version"] == 5

    gateway = httpx.Client(base_url=stack.url("serve"), timeout=10)
    assert gateway.get("/healthz").status_code == 200
    assert gateway.get("/readyz").json()["models"] == [SPEC.name]
    assert SPEC.name in gateway.get("/").json()["models"]
    assert "there is no model 'flight_dely'. Did you mean 'flight_delay'?" in gateway.post("/models/flight_dely").text
    assert set(gateway.get("/openapi.json").json()["paths"]) == {"/", "/healthz", "/readyz", "/metrics"}
    for page in ("/docs", "/redoc", f"/models/{SPEC.name}/docs"):
        addresses = ADDRESS.findall(gateway.get(page).text)
        assert len(addresses) >= 3 and all(re.match(r"/\w", each) for each in addresses), (page, addresses)
        assert {gateway.get(each).status_code for each in addresses} == {200}, (page, addresses)
    described = gateway.get(f"/models/{SPEC.name}/openapi.json").json()
    assert described["servers"] == [{"url": f"/models/{SPEC.name}"}]
    deadline = time.monotonic() + 40
    wanted = {"requests_total", "view_known_until_seconds", "view_lag_seconds", "value_age_seconds_bucket"}
    while not all(f"ray_headrace_{name}{{" in (exposed := gateway.get("/metrics").text) for name in wanted):
        assert time.monotonic() < deadline, exposed[-2000:]
        time.sleep(1)
    (known_until,) = {line.rsplit(" ", 1)[1] for line in exposed.splitlines() if KNOWN_UNTIL.match(line)}
    assert float(known_until) == datetime(2013, 12, 16, 12, tzinfo=UTC).timestamp()

    logged = read_predictions(stack, SPEC.name)
    assert len(logged) == sum(answers.values()) + 1
    assert set(logged["version"]) == {1, 5}

    failed = gateway.post(f"/models/{SPEC.name}/predict", json={**ROW, "carrier": "00"})
    assert (failed.status_code, failed.json()["instance"]) == (500, f"/models/{SPEC.name}/predict")
    text = error_log_path(stack, SPEC.name).read_text()
    (found,) = re.findall(rf"process (\d+) .*error_id {failed.json()['error_id']}: ", text)
    os.kill(int(found), signal.SIGKILL)  # nothing of the traceback waits in a buffer of the replica
    assert "\nConnectionError: the online store is away\n" in text.partition(failed.json()["error_id"])[2]
    deadline = time.monotonic() + 60
    while live(stack)[SPEC.name]["replicas"] < SPEC.serving.replicas:
        assert time.monotonic() < deadline
        time.sleep(0.5)

    kept = yaml.safe_load((stack.home / "serve" / "config.yaml").read_text())
    assert [each["name"] for each in kept["applications"]] == ["headrace-gateway", SPEC.name]
    assert kept["applications"][1]["deployments"][0]["user_config"] == {"version": 5}
    assert restore(stack) == [SPEC.name]
    strict = SPEC.model_copy(update={"expired": {"weather": "abstain"}})
    assert deploy(stack, strict, 5, timeout=180, **STAND_INS).action == "deployed"  # its arguments changed
    assert deploy(stack, strict, 5, **STAND_INS).action == "unchanged"
    with pytest.raises(ConfigError, match="Did you mean 'weather'"):
        deploy(stack, SPEC.model_copy(update={"expired": {"wether": "abstain"}}), 5, **STAND_INS)
    assert undeploy(stack, SPEC.name)
    assert not undeploy(stack, "flight_cancelled")


def test_live_is_empty_and_quick_when_nothing_is_up(tmp_path: Path) -> None:
    settings = load_settings(variables={"HEADRACE_HOME": str(tmp_path), "HEADRACE_PORT_OFFSET": "19990"})
    started = time.monotonic()
    assert live(settings) == {}
    assert time.monotonic() - started < 3
    with pytest.raises(ServeError, match="headrace up"):
        deploy(settings, SPEC, 1)
