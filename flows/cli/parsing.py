"""Run one flow from command-line arguments."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from configs.errors import HeadraceError
from flows.parameters import UsageError, check_call, checked

__all__ = ["call", "known_model", "moment", "parameter", "which_model"]


def call(name: str, model: str | None, given: dict[str, Any]) -> Any:
    """Run a flow in this process and return its result; ``settings.variables()`` must be in the environment by now.

    ``model`` may be None if only one is configured or the flow has no model.

    Raises:
        UsageError: the flow does not accept an argument.
    """
    from importlib import import_module
    from inspect import signature

    flow = getattr(import_module(f"flows.{checked(name)}"), name)
    _quiet_console()
    if "model" in signature(flow.fn).parameters:
        given = {"model": which_model(model), **given}
    elif model is not None:
        raise UsageError(f"The flow '{name}' takes no --model; it processes the features of all models.")
    check_call(name, given)
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):  # its thread delays each flow's end by 1 s
        return flow(**given)


def which_model(model: str | None) -> str:
    """The requested model: the given one, else the only one.

    Raises:
        UsageError: none is given, and there are several.
    """
    from configs import model_names

    names = model_names()
    if model is None and len(names) != 1:
        raise UsageError(f"Choose a model with --model; known: {', '.join(names)}.")
    return model or names[0]


def known_model(model: str) -> str:
    """The model's name; a name without a file is refused with the nearest one."""
    from configs import load_model

    return load_model(model).name


def _quiet_console() -> None:
    """Print no traceback of an expected error: it is on Prefect's page of the run, and the sentence is printed last."""

    def without_traceback(record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], HeadraceError):
            record.exc_info = record.exc_text = None
        return True

    for handler in logging.getLogger().handlers:  # Prefect's console handler, installed by the import of a flow
        handler.addFilter(without_traceback)


def parameter(text: str) -> tuple[str, Any]:
    """``key=value`` with the value read as YAML: ``promote=true``, ``tables=[flights]``."""
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--param {text}: expected key=value, such as promote=true.")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        why = str(getattr(error, "problem", None) or error)
        raise UsageError(f"--param {text}: the value is not YAML ({why}); expected for example true.") from None


def moment(text: str) -> datetime:
    """An ISO date or time, in UTC unless it has an offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--as-of {text}: expected a time such as 2013-12-17 or 2013-12-17T06:00:00Z.") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
