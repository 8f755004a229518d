"""The flows by name, and whether a flow takes given arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from configs.errors import HeadraceError

__all__ = ["FLOWS", "UsageError", "check_call", "checked"]

#: The flows of ``headrace run``; each is ``flows.<name>:<name>``.
FLOWS = ("ingest", "materialize", "train", "register", "deploy", "score", "monitor", "parity", "lifecycle")
#: Description of a parameter's value by its type; null means the default.
_EXPECTED = {
    "list[str]": "a list such as [one, other]",
    "datetime": "a time such as 2013-12-17 or 2013-12-17T06:00:00Z",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
}


class UsageError(HeadraceError, ValueError):
    """The command line is invalid; the message is one sentence."""


def checked(flow: str) -> str:
    """Return the flow's name if it exists.

    Raises:
        UsageError: there is no such flow (the message has the nearest name).
    """
    from configs.reading import nearest

    if flow not in FLOWS:
        raise UsageError(f"There is no flow '{flow}'.{nearest(flow, list(FLOWS))} Known: {', '.join(FLOWS)}.")
    return flow


def check_call(name: str, given: Mapping[str, Any]) -> None:
    """Check that there is a flow ``name`` and that it takes these arguments.

    Raises:
        UsageError: it does not.
    """
    from importlib import import_module
    from inspect import signature

    from configs.reading import nearest

    flow = getattr(import_module(f"flows.{checked(name)}"), name)
    known = list(signature(flow.fn).parameters)
    for key in given:
        if key not in known:
            near = nearest(key, known)
            raise UsageError(f"The flow '{name}' has no parameter '{key}'.{near} Known: {', '.join(known)}.")
    _fits(flow.fn, given)


def _fits(function: Any, given: Mapping[str, Any]) -> None:
    """Refuse a value that is not of its parameter's type; Prefect's own message would be many lines."""
    from typing import get_type_hints

    from pydantic import TypeAdapter, ValidationError

    hints = get_type_hints(function)
    for key, value in given.items():
        try:
            TypeAdapter(hints[key]).validate_python(value)
        except ValidationError:
            kind = function.__annotations__[key].removesuffix(" | None")
            raise UsageError(f"--param {key}={value}: expected {_EXPECTED.get(kind, kind)}.") from None
