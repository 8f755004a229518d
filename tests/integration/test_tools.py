"""Feast's, Prefect's, Serve's and MLflow's own command lines work on the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
#: The views that the lifecycle of flight_delay computes; the tables of the others need not be ingested here.
FLIGHTS = "-v weather -v carrier_stats -v origin_stats -v route_stats -v plane_stats -v plane_attributes"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("feast -c feature_repo plan", ""),
        ("feast -c feature_repo apply", ""),
        ("feast -c feature_repo feature-views list", "plane_stats"),
        (f"feast -c feature_repo materialize 2013-03-24T00:00:00 2013-03-28T00:00:00 {FLIGHTS}", ""),
        ("prefect deploy --prefect-file configs/prefect.yaml --all", "successfully created"),
        ("serve status", "flight_delay"),
        ("mlflow experiments search", "flight_delay"),
    ],
)
def test_command(headrace, lifecycle, command, says):
    tool, *arguments = command.split()
    path = Path(sys.executable).parent / tool
    assert path.exists() or shutil.which(tool)
    done = subprocess.run(
        [str(path), *arguments],
        cwd=ROOT,
        env={**headrace.environment, **headrace.settings.variables()},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert says in done.stdout
