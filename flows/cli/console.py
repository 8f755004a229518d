"""Shared by all commands: the environment's settings, and a console."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer
    from rich.console import Console

    from configs import Settings

__all__ = ["console", "settings_of"]


def settings_of(context: typer.Context) -> Settings:
    """The environment's settings; also set in ``os.environ``, which Prefect, Ray and MLflow read at import."""
    from configs import load_settings

    settings = load_settings(context.obj)
    os.environ.update(settings.variables())
    return settings


def console() -> Console:
    """Standard output, as wide as the terminal."""
    from rich.console import Console

    return Console()
