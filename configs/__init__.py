"""Typed settings and their YAML files.

The names below are imported at their first use, so that the command line starts without pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from configs.errors import HeadraceError

if TYPE_CHECKING:
    from configs.model import ModelSpec, load_model, model_names
    from configs.reading import ConfigError
    from configs.settings import Settings, load_settings

__all__ = ["ConfigError", "HeadraceError", "ModelSpec", "Settings", "load_model", "load_settings", "model_names"]

_MODULES = {
    "ConfigError": "configs.reading",
    "ModelSpec": "configs.model",
    "Settings": "configs.settings",
    "load_model": "configs.model",
    "load_settings": "configs.settings",
    "model_names": "configs.model",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'configs' has no attribute '{name}'")
