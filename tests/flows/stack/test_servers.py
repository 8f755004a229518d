"""The servers, really started and stopped, on ports and in a home of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import psutil
import pytest

from configs import Settings, load_settings
from flows.stack import StackError, down, health, services, up, wait
from flows.stack import servers as stack_module
from flows.stack.probing import request
from flows.stack.processes import Record, processes_of, read_record, record_path, start, stop
from flows.stack.services import MARK, Service, ray_folder
from tests.ports import free_offset

#: One offset for the file: each test takes its stack down before the next.
OFFSET = cache(free_offset)


def settings_of(home: Path, **more: str) -> Settings:
    """Settings with a home of their own and an offset at which every port is free."""
    variables = {"HEADRACE_HOME": str(home), "HEADRACE_PORT_OFFSET": str(OFFSET()), "HEADRACE_ENV": "local", **more}
    return load_settings(variables=variables)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    found = settings_of(tmp_path)
    (tmp_path / "run").mkdir()
    yield found
    down(found)


def sleeper(settings: Settings, code: str, **more: object) -> Service:
    prefect = services(settings)[0]
    command = (sys.executable, "-c", code)
    return replace(prefect, name="prefect", command=command, environment={MARK: str(settings.home)}, ports=(), **more)


@pytest.mark.long
def test_up_twice_and_down_leave_one_server_then_none(settings: Settings) -> None:
    seen: list[tuple[str, str]] = []
    up(settings, lambda service, state: seen.append((service.name, state)), names=["prefect"])
    first = read_record(settings, "prefect")
    up(settings, names=["prefect"])
    assert seen == [("prefect", "starting"), ("prefect", "ready")]
    assert read_record(settings, "prefect") == first
    states = [(each.service.name, each.state) for each in health(settings)]
    stopped = [(name, "stopped") for name in ("ray", "mlflow", "schedules", "evidently")]
    assert states == [("prefect", "ready"), *stopped]

    status, pool = request("GET", f"{settings.url('prefect')}/api/work_pools/headrace")
    assert status == 200 and pool["type"] == "process"

    assert first is not None
    killed = psutil.Process(first.pid)
    killed.kill()
    killed.wait(10)  # a server that died is started again
    up(settings, names=["prefect"])
    assert read_record(settings, "prefect") != first

    assert down(settings) >= 1
    assert processes_of(settings) == []
    assert read_record(settings, "prefect") is None
    assert down(settings) == 0


def test_a_reused_process_id_is_not_killed(settings: Settings) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        created = psutil.Process(other.pid).create_time()
        path = record_path(settings, "mlflow")
        path.write_text(json.dumps(asdict(Record("mlflow", other.pid, created - 100))))
        assert stop(settings, ["mlflow"]) == 0
        assert other.poll() is None
        assert not path.exists()
    finally:
        other.kill()
        other.wait()


def test_a_process_that_ignores_sigterm_and_its_detached_child_are_ended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.stack.processes.GRACE_SECONDS", 1.0)
    child = "import time; time.sleep(60)"
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True); print('on', flush=True)\n"
        "time.sleep(60)"
    )
    record = start(settings, sleeper(settings, code))
    log = settings.home / "logs" / "prefect.log"
    while "on" not in log.read_text():
        time.sleep(0.05)
    os.kill(record.pid, signal.SIGKILL)  # as if `down` had been killed halfway: the child has no parent left
    assert len(processes_of(settings)) == 1
    record = start(settings, sleeper(settings, code))
    assert down(settings) >= 2
    assert processes_of(settings) == []
    assert record.process() is None


def test_a_taken_port_is_named_with_its_owner_and_the_way_out(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind((settings.host, settings.ports["mlflow"]))
        taken.listen()
        with pytest.raises(StackError) as raised:
            up(settings, names=["mlflow"])
    sentence = str(raised.value)
    assert f"port {settings.ports['mlflow']} is taken by" in sentence
    assert f"process {os.getpid()}" in sentence and "HEADRACE_PORT_OFFSET" in sentence
    assert processes_of(settings) == []


def test_a_server_that_dies_is_told_with_the_end_of_its_log(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = sleeper(settings, "import sys; print('the disk is on fire'); sys.exit(3)")
    monkeypatch.setattr(stack_module, "services", lambda settings: [dying])
    with pytest.raises(StackError, match=r"died while starting.*prefect\.log ends: the disk is on fire"):
        up(settings, names=["prefect"])


def test_a_silent_server_is_told_with_the_time_it_had(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = sleeper(settings, "import time; time.sleep(60)")
    monkeypatch.setattr(stack_module, "services", lambda settings: [silent])
    hasty = settings.model_copy(update={"start_timeout": 1.0})
    with pytest.raises(StackError, match=r"does not answer at .* after 1 s"):
        up(hasty, names=["prefect"])
    assert health(hasty)[0].state == "starting"


def test_unknown_and_absent_services(settings: Settings) -> None:
    with pytest.raises(StackError, match=r"no service 'mlfow'. Did you mean 'mlflow'"):
        up(settings, names=["mlfow"])
    with pytest.raises(StackError, match=r"MLflow .* is not running"):
        wait(settings, ["mlflow"])


def test_haproxy_keeps_its_own_pages_on_loopback(settings: Settings, tmp_path: Path) -> None:
    """Run as Serve runs it, with the ``bind`` lines of its template; the address of a frontend stays."""
    from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

    environment = next(each for each in services(settings) if each.name == "ray").environment
    binds = [line.strip() for line in HAPROXY_CONFIG_TEMPLATE.splitlines() if line.strip().startswith("bind ")]
    assert "bind :{{ config.metrics_port }}" in binds and "bind *:{{ config.stats_port }}" in binds
    metrics, statistics, endpoints = (settings.ports[name] for name in ("serve_metrics", "serve_stats", "serve"))
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n"
        f"frontend prometheus\n    bind :{metrics}\nfrontend http\n    bind {settings.host}:{endpoints}\n"
        f"listen stats\n  bind *:{statistics}\n  stats enable\n"
    )
    command = [environment["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(config), "-dR"]
    process = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        deadline = time.monotonic() + 20
        while len(found := psutil.Process(process.pid).net_connections("tcp")) < 3:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        assert {tuple(each.laddr) for each in found} == {
            (settings.host, port) for port in (metrics, statistics, endpoints)
        }
    finally:
        process.terminate()
        process.wait(10)
    refused = subprocess.run([command[0], "-W", "file"], env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "expects the options '-db -f CONFIGURATION', not '-W file'" in refused.stderr


def test_ray_is_limited_to_this_machine_only_where_the_host_is(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    public = settings.model_copy(update={"host": "10.0.0.1"})
    joined = settings.model_copy(update={"ray": settings.ray.model_copy(update={"address": "10.0.0.7:6379"})})
    for each, limited in ((settings, "0"), (public, "1"), (joined, "1")):
        assert each.variables()["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == limited
    assert "RAY_SERVE_HAPROXY_BINARY_PATH" not in services(public)[1].environment


def test_every_port_of_serve_is_the_stacks_own(settings: Settings) -> None:
    """A port that Serve's variables leave at its default is the same in every stack."""
    ray = next(each for each in services(settings) if each.name == "ray")
    ports = {int(value) for name, value in ray.environment.items() if name.startswith("RAY_SERVE_") and "_PORT" in name}
    replicas = settings.ports["serve_replicas"]
    assert ports - set(range(replicas, replicas + 1000)) <= set(ray.ports)
    assert {settings.ports["serve_fallback"], settings.ports["serve_fallback_grpc"]} <= ports


def test_no_ray_is_started_where_a_cluster_is_named(settings: Settings) -> None:
    joined = settings.model_copy(update={"ray": settings.ray.model_copy(update={"address": "10.0.0.1:6379"})})
    assert [service.name for service in services(joined)] == ["prefect", "mlflow", "schedules", "evidently"]


def test_sockets_below_the_ray_folder_fit_and_two_homes_share_nothing(settings: Settings, tmp_path: Path) -> None:
    ray = services(settings)[1]
    node = "f" * 56
    for name in ("RAY_SERVE_HAPROXY_SOCKET_PATH", "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH"):
        path = Path(ray.environment[name])
        assert len(str(path.parent / node / path.name)) <= 97
    session = ray_folder(settings) / "session_2026-11-23_20-57-56_944732_4194304" / "sockets" / "plasma_store"
    assert len(str(session)) <= 107
    assert ray_folder(settings) != ray_folder(settings_of(tmp_path / "other"))


NAMESAKE = """
import os, time
from ray import serve

@serve.deployment
class Namesake:
    def __init__(self):
        time.sleep(3)  # the stack has no replica for this long after one was killed

    async def __call__(self):
        return {"stack": os.environ["HEADRACE_STACK"], "process": os.getpid()}

def build(args):
    return Namesake.bind()
"""


def answer_of(settings: Settings) -> dict[str, object] | None:
    """What the application at ``/namesake`` answers; None for an error."""
    try:
        status, content = request("GET", f"{settings.url('serve')}/namesake", timeout=30)
    except OSError:
        return None
    return content if status == 200 and isinstance(content, dict) else None


def process_of_replica(settings: Settings) -> int:
    """Process id of the application's replica, as soon as it answers."""
    deadline = time.monotonic() + 120
    while (answer := answer_of(settings)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert answer["stack"] == str(settings.home)
    return int(str(answer["process"]))


@pytest.mark.long
def test_a_stack_without_replicas_is_not_answered_by_another_one(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both serve an application of one name. One loses its replica: its clients wait for the next, or get an error."""
    (tmp_path / "namesake.py").write_text(NAMESAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    up(settings, names=["ray"], wait_for=[])
    other = settings_of(tmp_path / "other", HEADRACE_PORT_OFFSET=str(free_offset()))
    try:
        up(other, names=["ray"])
        wait(settings, ["ray"])
        for each in (settings, other):
            config = {
                "http_options": {"host": each.host, "port": each.ports["serve"]},
                "applications": [{"name": "n", "route_prefix": "/namesake", "import_path": "namesake:build"}],
            }
            url = f"{each.url('ray_dashboard')}/api/serve/applications/"
            assert request("PUT", url, config, timeout=120)[0] == 200
        before = {str(each.home): process_of_replica(each) for each in (settings, other)}
        os.kill(before[str(settings.home)], signal.SIGKILL)
        seen: set[tuple[object, object]] = set()
        deadline = time.monotonic() + 60
        with ThreadPoolExecutor(8) as pool:  # many connections: the kernel chooses a listener for each
            while {process for _, process in seen} <= set(before.values()):  # until the next replica answers
                assert time.monotonic() < deadline
                seen |= {tuple(each.values()) for each in pool.map(answer_of, [settings] * 8) if each is not None}
        assert {stack for stack, _ in seen} == {str(settings.home)}
    finally:
        down(other)
