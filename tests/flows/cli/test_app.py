"""The command line, as a person meets it: in a process of its own."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from configs import load_settings
from configs.settings import CONFIGS
from tests.ports import free_offset

OFFSET = free_offset()
PREFECT, MLFLOW, SERVE = 4200 + OFFSET, 5000 + OFFSET, 8000 + OFFSET


def headrace(home: Path, *words: str, given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"HEADRACE_HOME": str(home), "HEADRACE_PORT_OFFSET": str(OFFSET)}
    environment |= {"PATH": "/usr/bin:/bin", "COLUMNS": "200"}
    command = [sys.executable, "-m", "flows.cli.app", *words]
    root = load_settings(variables={}).root
    return subprocess.run(
        command,
        check=False,
        cwd=root,
        env=environment | variables,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_is_quick_and_names_the_commands(tmp_path: Path) -> None:
    headrace(tmp_path, "--help")  # compiles
    before = os.times()
    shown = headrace(tmp_path, "--help")
    used = os.times().children_user - before.children_user
    assert used < 2  # seconds of a busy core; 0.4 of an idle one
    assert shown.returncode == 0
    for command in re.findall(
        r"\w+", "up down status doctor run plan apply erase models predict env demo report profile"
    ):
        assert command in shown.stdout


def test_nothing_heavy_is_imported_for_help() -> None:
    heavy = ("prefect", "ray", "mlflow", "feast", "pandas", "httpx", "pydantic")
    code = f"import sys, flows.cli.app; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_env_prints_what_a_shell_can_evaluate(tmp_path: Path) -> None:
    home = tmp_path / "it's home"
    shown = headrace(home, "env")
    script = shown.stdout + "\nprintf '%s' \"$HEADRACE_HOME|$PREFECT_API_URL|$MLFLOW_TRACKING_URI\""
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == f"{home}|http://127.0.0.1:{PREFECT}/api|http://127.0.0.1:{MLFLOW}"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["run", "trian"], 2, "There is no flow 'trian'. Did you mean 'train'?"),
        (["run", "train", "--model", "flight_dely"], 1, "no model 'flight_dely'. Did you mean 'flight_delay'?"),
        (["run", "train", "--as-of", "yesterday"], 2, "--as-of yesterday: expected a time such as"),
        (["run", "train", "--param", "promote"], 2, "--param promote: expected key=value"),
        (["run", "ingest", "--param", "tables=[flights"], 2, "--param tables=[flights: the value is not YAML"),
        (["run", "train", "--model", "flight_delay"], 1, "start the stack with `headrace up`"),
        (["--env", "lokal", "up"], 1, "There is no environment 'lokal'. Did you mean 'local'?"),
        (["predict", "flight_delay", "--json", "{"], 2, "The request is not JSON"),
        (["predict", "flight_delay", "--json", "{}"], 1, "No endpoint answers at http://127.0.0.1:SERVE/models/"),
        (["predict", "flight_delay", "absent.json"], 2, "absent.json cannot be read"),
        (["report"], 1, "There is no report in"),
        (["profile", "wether"], 1, "There is no table 'wether'. Did you mean 'weather'?"),
        (["erase", "plane"], 2, "erase plane: expected entity=value, such as plane=N14228."),
        (["upp"], 2, "No such command 'upp'"),
    ],
)
def test_what_goes_wrong_is_one_sentence(tmp_path: Path, words: list[str], code: int, sentence: str) -> None:
    shown = headrace(tmp_path, *words)
    assert shown.returncode == code
    assert sentence.replace("SERVE", str(SERVE)) in shown.stderr  # a port in a test's name would differ by process
    assert "Traceback" not in shown.stderr
    assert shown.stdout == ""


def test_down_without_a_stack_is_harmless(tmp_path: Path) -> None:
    shown = headrace(tmp_path, "down")
    assert (shown.returncode, shown.stdout.strip()) == (0, "Nothing was running.")


def test_doctor_finds_a_taken_port(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", PREFECT), http.server.BaseHTTPRequestHandler):
        shown = headrace(tmp_path, "doctor")
    assert shown.returncode == 1
    assert f"problem ports of prefect: taken: {PREFECT} by" in shown.stdout
    assert "HEADRACE_PORT_OFFSET" in shown.stdout


def test_doctor_finds_what_would_fail_later(tmp_path: Path) -> None:
    folder = tmp_path / "staging"
    (folder / "models").mkdir(parents=True)
    (folder / "feature_store.yaml").write_bytes((CONFIGS / "local" / "feature_store.yaml").read_bytes())
    (folder / "headrace.yaml").write_text(
        "schedules: {train: {cron: every day}, monitor: {cron: '0 3 * * *', parameters: {modl: flight_delay}},"
        " nightly: {cron: '0 3 * * *'}, parity: {cron: '0 3 * * *', parameters: {model: flight_dely}}}\n"
    )
    (folder / "models" / "flight_delay.yaml").write_text("label: {positive: arr_dely > 30}\nslices: [carier]\n")
    shown = headrace(tmp_path, "--env", f"{folder}", "doctor")
    assert shown.returncode == 1
    for said in (
        "problem configs/models/flight_delay.yaml: Model 'flight_delay': label.positive = 'arr_dely > 30' cannot be",
        "problem configs/models/flight_delay.yaml: Model 'flight_delay', slices: there is no column 'carier'",
        "OK      configs/models/flight_cancelled.yaml: valid",
        "OK      feature_repo/features.py: not applied yet",
        "problem schedule train: cron = 'every day' is no cron time",
        "problem schedule monitor: The flow 'monitor' has no parameter 'modl'. Did you mean 'model'?",
        "problem schedule nightly: There is no flow 'nightly'.",
        "problem schedule parity: There is no model 'flight_dely'. Did you mean 'flight_delay'?",
    ):
        assert said in shown.stdout, shown.stdout


def test_doctor_in_production_tells_what_does_not_answer(tmp_path: Path) -> None:
    servers = {"HEADRACE_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1", "HEADRACE_REDIS": "127.0.0.1:1"}
    shown = headrace(tmp_path, "--env", "production", "doctor", **servers)
    assert shown.returncode == 1
    assert "problem PostgreSQL:" in shown.stdout and "problem Redis: 127.0.0.1:1" in shown.stdout
