"""Typed settings and the YAML files they are read from."""

from configs.model import ModelSpec, load_model, model_names
from configs.reading import ConfigError
from configs.settings import Settings, load_settings

__all__ = ["ConfigError", "ModelSpec", "Settings", "load_model", "load_settings", "model_names"]
