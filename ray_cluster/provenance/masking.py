"""Settings and texts as they may be kept with a run: without what is secret in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import SecretStr

from configs.settings import Settings

__all__ = ["masked_settings", "without_secrets"]

MASK = "**********"
_NAMES = re.compile(r"passw|secret|token|credential|api_?key", re.IGNORECASE)
_LOGIN = re.compile(r"(://)[^/@\s]+@")


def masked_settings(settings: Settings) -> dict[str, Any]:
    """The settings as JSON: secret values, passwords in addresses and environment variables of Ray masked."""
    document = settings.model_dump(mode="json")
    variables = document["ray"]["runtime_env"].get("env_vars")
    if isinstance(variables, dict):
        document["ray"]["runtime_env"]["env_vars"] = dict.fromkeys(variables, MASK)
    shown: dict[str, Any] = _masked(document)
    return shown


def without_secrets(settings: Settings, text: str) -> str:
    """A text without the secret values that the settings hold, and without logins in addresses."""
    for secret in _secrets(settings):
        text = text.replace(secret, MASK)
    return _LOGIN.sub(rf"\g<1>{MASK}@", text)


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _masked(each, str(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, name) for each in value]
    if isinstance(value, str):
        return MASK if _NAMES.search(name) else _LOGIN.sub(rf"\g<1>{MASK}@", value)
    return value


def _secrets(settings: Settings) -> Iterator[str]:
    for value in vars(settings.databases).values():
        if isinstance(value, SecretStr) and value.get_secret_value():
            yield value.get_secret_value()
