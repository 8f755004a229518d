"""Run one flow from words on a command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

__all__ = ["FLOWS", "UsageError", "call", "checked", "moment", "parameter"]

#: Every flow that ``headrace run`` takes; each is ``flows.<name>:<name>``.
FLOWS = ("ingest", "materialize", "train", "register", "deploy", "score", "monitor", "parity", "lifecycle")


class UsageError(ValueError):
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

    from configs import model_names
    from configs.reading import nearest

    flow = getattr(import_module(f"flows.{name}"), name)
    known = list(signature(flow.fn).parameters)
    if "model" in known:
        names = model_names()
        if model is None and len(names) != 1:
            raise UsageError(f"Say which model with --model; known: {', '.join(names)}.")
        given = {"model": model or names[0], **given}
    elif model is not None:
        raise UsageError(f"The flow '{name}' takes no --model; it is about every model's features.")
    for key in given:
        if key not in known:
            near = nearest(key, known)
            raise UsageError(f"The flow '{name}' has no parameter '{key}'.{near} Known: {', '.join(known)}.")
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):  # its thread costs a second at every flow's end
        return flow(**given)


def parameter(text: str) -> tuple[str, Any]:
    """``key=value`` with the value read as YAML: ``promote=true``, ``tables=[flights]``."""
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--param {text}: expected key=value, such as promote=true.")
    return key, yaml.safe_load(value)


def moment(text: str) -> datetime:
    """An ISO date or time, in UTC unless it says otherwise."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--as-of {text}: expected a time such as 2013-12-17 or 2013-12-17T06:00:00Z.") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
