"""Which libraries and which machine made a model."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["library_versions", "machine"]

#: Libraries that decide what a model is; those that are not installed are left out.
LIBRARIES = (
    "xgboost",
    "scikit-learn",
    "imbalanced-learn",
    "numpy",
    "scipy",
    "pandas",
    "polars",
    "duckdb",
    "pyarrow",
    "optuna",
    "ray",
    "mlflow",
    "skops",
    "feast",
)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide what a model is."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Interpreter, operating system and processors, as far as they can change a floating-point result."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }
