"""Read YAML into frozen pydantic models, and report all problems of a file, each in one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError, WithJsonSchema

from configs.errors import HeadraceError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "ConfigError",
    "Duration",
    "Frozen",
    "collected",
    "merge",
    "nearest",
    "raise_all",
    "read_yaml",
    "validated",
]

#: libyaml's safe loader is ten times faster than the Python one.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*"


class ConfigError(HeadraceError, ValueError):
    """A settings file or a model file that cannot be used; the message is one sentence for each problem."""


class Frozen(BaseModel):
    """Base of every settings model: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def _duration(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(_DURATION, value)
        if not match:
            raise ValueError("expected a number and a unit such as 90s, 15m, 2h or 7d")
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    return value


def _spell(value: timedelta) -> str:
    return f"{value.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"  # :g would write 45 days as 3.888e+06s


#: A length of time written as a number and a unit: ``90s``, ``15m``, ``2h``, ``7d``.
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(_spell, when_used="json"),
    WithJsonSchema({"title": "Duration", "type": ["string", "number"], "pattern": f"^{_DURATION}$"}),
]

M = TypeVar("M", bound=BaseModel)


def nearest(word: str, choices: list[str]) -> str:
    """Return " Did you mean 'x'?" for the closest choice, or an empty string if none is close."""
    close = get_close_matches(word, choices, n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping.

    Raises:
        ConfigError: the file is missing, is not YAML, or is not a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; create it or choose another file.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} contains a {type(content).__name__}; expected a mapping of settings.")
    return content


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings deeply: a mapping is merged key by key, anything else is replaced.

    >>> merge({"ports": {"mlflow": 5000, "serve": 8000}}, {"ports": {"serve": 9000}})
    {'ports': {'mlflow': 5000, 'serve': 9000}}
    """
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def validated(model: type[M], content: Mapping[str, Any], where: str) -> M:
    """Validate ``content`` as ``model``; ``where`` names the files in the error.

    Raises:
        ConfigError: one sentence for each problem, with the key, the value, what was expected and the nearest known
            key. Several problems are a line each, after a line that names the files.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = _problems(model, content, error)
    if len(problems) == 1:
        raise ConfigError(f"{where}: {problems[0]}")
    raise ConfigError("\n".join([f"{where}: {len(problems)} problems.", *(f"- {each}" for each in problems)]))


@contextmanager
def collected(problems: list[ConfigError]) -> Iterator[None]:
    """Add a :class:`ConfigError` of the block to ``problems``, so that further files are read before it is raised."""
    try:
        yield
    except ConfigError as error:
        problems.append(error)


def raise_all(problems: Sequence[ConfigError]) -> None:
    """Raise the problems of several files as one error, if there are any."""
    if problems:
        raise ConfigError("\n".join(str(each) for each in problems))


def _problems(model: type[BaseModel], content: Mapping[str, Any], error: ValidationError) -> list[str]:
    """A sentence for each key with a problem, in the order of the model.

    A value that fits no member of a union has an error for each: they are joined. If it has a member's form, only the
    errors inside it are kept.
    """
    found: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for each in error.errors():
        found.setdefault(_written(content, each["loc"], each["type"] == "missing"), []).append(each)
    outer = {key[:length] for key in found if key[-1:] != ("[key]",) for length in range(len(key))}
    return [_sentence(model, key, each) for key, each in found.items() if key not in outer]


def _sentence(model: type[BaseModel], location: tuple[int | str, ...], errors: list[ErrorDetails]) -> str:
    first, key = errors[0], ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        known = sorted(_fields_at(model, first["loc"][:-1]))
        return f"unknown key '{key}'.{nearest(str(first['loc'][-1]), known)} Known here: {', '.join(known)}."
    if first["type"] == "missing":
        return f"'{key}' is missing; add it."
    messages = [each["msg"].removeprefix("Value error, ") for each in errors]
    message = ", or ".join(
        dict.fromkeys([messages[0], *(each.removeprefix("Input should be ") for each in messages[1:])])
    )
    message += "" if message.endswith(("?", ".")) else "."
    return f"{key} = {first['input']!r}: {message}" if key else message


def _written(content: Any, location: tuple[int | str, ...], missing: bool) -> tuple[int | str, ...]:
    """A location in the file: without the names of a union's members, which pydantic inserts."""
    parts: list[int | str] = []
    for number, part in enumerate(location):
        keys = content if isinstance(content, Mapping) else range(len(content)) if isinstance(content, list) else ()
        if part in keys:
            content = content[part]
        elif part != "[key]" and not (missing and number == len(location) - 1):
            continue
        parts.append(part)
    return tuple(parts)


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    """Field names of the settings model at ``location`` below ``model``."""
    candidates: list[type[BaseModel]] = [model]
    for part in location:
        found: list[type[BaseModel]] = []
        for candidate in candidates:
            field = candidate.model_fields.get(str(part))
            found += _models_in(field.annotation) if field else []
        candidates = found or [each for each in candidates if _member(each, part)] or candidates
    return {name for candidate in candidates for name in candidate.model_fields}


def _member(model: type[BaseModel], name: int | str) -> bool:
    """Whether this is pydantic's name of a member of a union: its class, or the value of its discriminator."""
    told_apart = (field.annotation for field in model.model_fields.values())
    return model.__name__ == name or any(get_args(each) == (name,) for each in told_apart)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]
