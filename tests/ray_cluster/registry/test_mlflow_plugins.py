"""A process that talks to MLflow does not import Feast, and other packages' plug-ins are loaded."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from mlflow.utils import plugins

from ray_cluster.registry.mlflow_plugins import skip_feast

GROUP = "mlflow.request_header_provider"
CODE = """
import sys
from configs import load_settings
from ray_cluster.registry.mlflow_client import connect
connect(load_settings("local", {}))
from mlflow.tracking.request_header.registry import resolve_request_headers
print("User-Agent" in resolve_request_headers(), "feast" in sys.modules)
"""


def test_a_process_that_talks_to_mlflow_does_not_import_feast() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_feast_still_has_the_plug_in() -> None:
    """If it has none, this module is not needed."""
    assert any(each.value.startswith("feast.") for each in plugins.get_entry_points(GROUP))


class Provider:
    def in_context(self) -> bool:
        return True

    def request_headers(self) -> dict[str, str]:
        return {"X-Team": "rivers"}


def test_the_plug_in_of_another_package_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "mlflow.tracking.request_header.registry"
    __import__(name)
    monkeypatch.delitem(sys.modules, name)
    known = [EntryPoint("feast", "feast.none:None", GROUP), EntryPoint("team", f"{__name__}:Provider", GROUP)]
    monkeypatch.setattr(plugins, "get_entry_points", lambda group: known if group == GROUP else [])
    given = plugins.get_entry_points
    skip_feast()
    assert plugins.get_entry_points is given
    assert sys.modules[name].resolve_request_headers()["X-Team"] == "rivers"
    skip_feast()
