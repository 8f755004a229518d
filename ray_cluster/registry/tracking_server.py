"""MLflow's server, without the notice about usage data.

``MLFLOW_DISABLE_TELEMETRY`` disables the collection, but the start page shows the notice to every user who has not
closed it, and the settings page shows the collection as enabled. Both store the user's choice in the browser.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["application"]

#: Values that the pages read from the browser's storage: key → value.
CHOICES = {"mlflow.telemetry.info.alert.dismissed_v1": "true", "mlflow.settings.telemetry.enabled_v1": "false"}


def application() -> FastAPI:
    """MLflow's ASGI application, with the choices stored before its pages run; uvicorn calls it as a factory."""
    from mlflow.server import app as pages
    from mlflow.server import fastapi_app

    script = "".join(f'localStorage.setItem("{key}", "{value}");' for key, value in CHOICES.items())
    page = Path(str(pages.static_folder), "index.html").read_text(encoding="utf-8")
    page = page.replace("<head>", f"<head><script>{script}</script>", 1)
    pages.view_functions["serve"] = lambda: page  # the route of the only HTML page
    return cast("FastAPI", fastapi_app.app)
