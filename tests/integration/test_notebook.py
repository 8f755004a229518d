"""The notebook runs from its first cell to its last on a real stack, and its run is kept apart from the trainings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from configs.settings import CONFIGS
from ray_cluster import registry

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]
NOTEBOOK = CONFIGS.parent / "docs" / "notebooks" / "explore.ipynb"


def test_the_notebook_explores_tries_and_logs(headrace, lifecycle, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    settings = headrace.settings
    trained = registry.newest_run(settings, "flight_delay")
    for name in list(os.environ):
        if name.startswith(("HEADRACE_", "PREFECT_")):
            monkeypatch.delenv(name)
    for name, value in headrace.environment.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(CONFIGS.parent)}}).execute()

    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "logged: True" in said
    newest = registry.runs_of(settings, "flight_delay")[0]
    assert newest.kind == "notebook" and newest.tags["mlflow.note.content"] == "shallow trees, few rounds"
    assert registry.newest_run(settings, "flight_delay") == trained
    evidence = registry.evidence(settings, newest.run_id)
    assert evidence.evaluation.period == "validation" and evidence.provenance["dataset"]["columns"]

    compared = headrace("compare", "flight_delay", "1", newest.run_id[:12])
    assert compared.returncode == 0, compared.stderr
    assert "different periods" in " ".join(compared.stdout.split())
    refused = headrace("reproduce", "flight_delay", newest.run_id)
    assert refused.returncode == 1 and "was logged from a notebook, by hand" in " ".join(refused.stderr.split())


def test_the_notebook_is_kept_without_outputs_and_paths():
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
    assert "/home/" not in Path(NOTEBOOK).read_text(encoding="utf-8")
