"""Run one flow from words on a command line."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from configs.errors import HeadraceError

__all__ = ["FLOWS", "UsageError", "call", "checked", "known_model", "moment", "parameter", "which_model"]

#: Every flow that ``headrace run`` takes; each is ``flows.<name>:<name>``.
FLOWS = ("ingest", "materialize", "train", "register", "deploy", "score", "monitor", "parity", "lifecycle")
#: What the value of a flow's parameter is, for a person, by its type; null is what it is by default.
_EXPECTED = {
    "list[str]": "a list such as [one, other]",
    "datetime": "a time such as 2013-12-17 or 2013-12-17T06:00:00Z",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
}


class UsageError(HeadraceError, ValueError):
    """The command line asks for what there is not; one sentence."""


def checked(flow: str) -> str:
    """The flow's name.

    Raises:
        UsageError: there is no such flow (with the nearest name).
    """
    from configs.reading import nearest

    if flow not in FLOWS:
        raise UsageError(f"There is no flow '{flow}'.{nearest(flow, list(FLOWS))} Known: {', '.join(FLOWS)}.")
    return flow


def call(name: str, model: str | None, given: dict[str, Any]) -> Any:
    """Run a flow in this process and return its result; ``settings.variables()`` must be in the environment by now.

    ``model`` may be None where only one is configured or the flow takes none.

    Raises:
        UsageError: the flow does not take what is given.
    """
    from importlib import import_module
    from inspect import signature

    from configs.reading import nearest

    flow = getattr(import_module(f"flows.{name}"), name)
    _quiet_console()
    known = list(signature(flow.fn).parameters)
    if "model" in known:
        given = {"model": which_model(model), **given}
    elif model is not None:
        raise UsageError(f"The flow '{name}' takes no --model; it is about every model's features.")
    for key in given:
        if key not in known:
            near = nearest(key, known)
            raise UsageError(f"The flow '{name}' has no parameter '{key}'.{near} Known: {', '.join(known)}.")
    _fits(flow.fn, given)
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):  # its thread costs a second at every flow's end
        return flow(**given)


def which_model(model: str | None) -> str:
    """The model that is meant: the one that is named, else the only one there is.

    Raises:
        UsageError: none is named, and there are several.
    """
    from configs import model_names

    names = model_names()
    if model is None and len(names) != 1:
        raise UsageError(f"Say which model with --model; known: {', '.join(names)}.")
    return model or names[0]


def known_model(model: str) -> str:
    """The model's name; one that has no file is refused with the nearest."""
    from configs import load_model

    return load_model(model).name


def _fits(function: Any, given: dict[str, Any]) -> None:
    """Refuse what Prefect would refuse in many lines: a value that is not of its parameter's type."""
    from typing import get_type_hints

    from pydantic import TypeAdapter, ValidationError

    hints = get_type_hints(function)
    for key, value in given.items():
        try:
            TypeAdapter(hints[key]).validate_python(value)
        except ValidationError:
            kind = function.__annotations__[key].removesuffix(" | None")
            raise UsageError(f"--param {key}={value}: expected {_EXPECTED.get(kind, kind)}.") from None


def _quiet_console() -> None:
    """Leave the traceback of an expected error to Prefect's page of the run; its sentence ends what is printed here."""

    def without_traceback(record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], HeadraceError):
            record.exc_info = record.exc_text = None
        return True

    for handler in logging.getLogger().handlers:  # Prefect's for the console, since a flow was imported
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
        raise UsageError(f"--param {text}: the value is not YAML ({why}); expected such as promote=true.") from None


def moment(text: str) -> datetime:
    """An ISO date or time, in UTC unless it says otherwise."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--as-of {text}: expected a time such as 2013-12-17 or 2013-12-17T06:00:00Z.") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
