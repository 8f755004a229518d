"""MLflow without Feast: with its first request MLflow loads the plug-ins of installed packages, and Feast has one.

The plug-in imports all of Feast, six seconds of a CPU in each process, for the token of a kind of data source that
Headrace has not. tests/ray_cluster/registry/test_mlflow_plugins.py fails if a new version loads it in another way.
"""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from threading import Lock

__all__ = ["skip_feast"]

_LOADED = "mlflow.tracking.request_header.registry"
_lock = Lock()


def skip_feast() -> None:
    """Load the plug-ins for the headers of requests, except Feast's, unless they are loaded already."""
    if _LOADED in sys.modules:
        return
    from mlflow.utils import plugins

    with _lock:
        every = plugins.get_entry_points

        def others(group: str) -> list[EntryPoint]:
            return [each for each in every(group) if not each.value.startswith("feast.")]

        plugins.get_entry_points = others
        try:
            import mlflow.tracking.request_header.registry  # noqa: F401
        finally:
            plugins.get_entry_points = every
