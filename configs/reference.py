"""The reference of all keys of the YAML files, docs/reference.md, and a JSON schema per kind of file, for editors.

Both are generated from the typed settings: ``python -m configs.reference`` writes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from configs.durations import in_one_unit
from configs.model import ModelSpec
from configs.reading import Frozen, read_yaml
from configs.settings import CONFIGS, Settings
from configs.table import Table

__all__ = ["KINDS", "Kind", "generated", "schema"]


class Kind(NamedTuple):
    """A kind of file: the settings model of its content, and what the page says about it."""

    model: type[BaseModel]
    title: str
    text: str


KINDS = {
    "headrace": Kind(
        Settings,
        "Environment: `headrace.yaml`",
        "An environment's file is merged over `configs/base.yaml` key by key, so that it has only what differs. The "
        "defaults below include those of `configs/base.yaml`.",
    ),
    "model": Kind(
        ModelSpec,
        "Model: `models/<name>.yaml`",
        "One model. A file of the same name under `models` in an environment's folder is merged over it.",
    ),
    "table": Kind(
        Table,
        "Table: `tables/<name>.yaml`",
        "One raw table. A file of the same name under `tables` in an environment's folder is merged over it.",
    ),
}

_PAGE = """# Reference of the settings

Every key of every YAML file of the settings. This page is generated: change the descriptions in `configs/*.py`, then
run `python -m configs.reference`.

{contents}

A *duration* is a number and a unit (`90s`, `15m`, `2h`, `7d`), or a number of seconds. A *time* is in ISO 8601 with an
offset, as in `2013-12-17T00:00:00Z`. In the name of a section, `[]` is each entry of a list and `<name>` is a name of
your own. An unknown key is an error.

Editors with the YAML language server complete and check the files: the first line of each file names its JSON schema,
under `configs/schemas`.
"""


class _Schema(GenerateJsonSchema):
    """JSON schema with defaults as a file has them, and without generated titles."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        found = super().default_schema(schema)
        default = schema.get("default")
        if isinstance(default, timedelta):
            found["default"] = in_one_unit(default.total_seconds(), exact=True)
        elif isinstance(default, Frozen):
            found["default"] = default.model_dump(mode="json", exclude_defaults=True)
        return found


def schema(kind: str) -> dict[str, Any]:
    """JSON schema of a kind of file, with the keys that are required after ``configs/base.yaml``."""
    found = KINDS[kind].model.model_json_schema(schema_generator=_Schema)
    found["title"], found["description"] = kind, KINDS[kind].text
    if kind == "headrace":
        _set_defaults(found, found["$defs"], read_yaml(CONFIGS / "base.yaml"))
    for each in (found, *found["$defs"].values()):
        each["description"] = each.get("description", "").replace("``", "`")
        for key in each["properties"].values():
            if "description" not in key:  # pydantic omits one that equals the section's own
                key["description"] = found["$defs"][_name(key)]["description"]
        keys, required = each.get("properties", {}), each.pop("required", [])
        needed = [name for name, key in keys.items() if "const" in key or (name in required and "default" not in key)]
        if needed:
            each["required"] = needed
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def generated() -> dict[Path, str]:
    """Path and content of each generated file."""
    files = {CONFIGS.parent / "docs" / "reference.md": _page()}
    for kind in KINDS:
        found = schema(kind)
        for each in (found, *found["$defs"].values()) if kind == "headrace" else ():
            each.pop("required", None)  # a file of an environment has only what differs
        files[CONFIGS / "schemas" / f"{kind}.schema.json"] = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    return files


def _set_defaults(node: dict[str, Any], defs: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        key = node["properties"][name]
        inside = "$ref" in key and isinstance(value, Mapping)
        key["default"] = {} if inside else _plain(value)
        if inside:
            _set_defaults(defs[_name(key)], defs, value)


def _plain(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _name(node: Mapping[str, Any]) -> str:
    return str(node["$ref"]).removeprefix("#/$defs/")


def _page() -> str:
    contents = "\n".join(f"- [{kind.title.partition(':')[0]}](#{_slug(kind.title)})" for kind in KINDS.values())
    parts = [_PAGE.format(contents=contents)]
    for name, kind in KINDS.items():
        found = schema(name)
        headings = _headings(found)
        parts.append(f"## {kind.title}\n\n{kind.text}\n\n{_table(found, headings)}")
        for definition, heading in headings.items():
            node = found["$defs"][definition]
            text = "\n\n".join(" ".join(part.split()) for part in node["description"].split("\n\n"))
            parts.append(f"### {heading}\n\n{text}\n\n{_table(node, headings)}")
    return "\n".join(parts)


def _headings(root: Mapping[str, Any]) -> dict[str, str]:
    """Heading of each definition, in the order of the file: the places in the file, and the variant of a union."""
    defs, places = root["$defs"], dict[str, list[str]]()

    def visit(node: Mapping[str, Any], place: str) -> None:
        for key, each in node["properties"].items():
            for definition, suffix in _references(each):
                here = f"{place}{key}{suffix}"
                seen = definition in places
                places.setdefault(definition, []).append(here)
                if not seen:
                    visit(defs[definition], f"{here}.")

    visit(root, "")
    return {
        definition: ", ".join(f"`{place}`" for place in dict.fromkeys(found))
        + "".join(f" with `{variant}`" for variant in _variant(defs[definition]))
        for definition, found in places.items()
    }


def _variant(node: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {key['const']}" for name, key in node["properties"].items() if "const" in key]


def _references(node: Mapping[str, Any], suffix: str = "") -> Iterator[tuple[str, str]]:
    """Each definition that a key refers to, with what follows the key in its place."""
    if "$ref" in node:
        yield _name(node), suffix
    for member in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _references(member, suffix)
    if isinstance(node.get("items"), Mapping):
        yield from _references(node["items"], f"{suffix}[]")
    if isinstance(node.get("additionalProperties"), Mapping):
        yield from _references(node["additionalProperties"], f"{suffix}.<name>")


def _slug(heading: str) -> str:
    """Anchor of a heading, as GitHub makes it."""
    return "".join(each for each in heading.lower() if each.isalnum() or each in "_- ").replace(" ", "-")


def _table(node: Mapping[str, Any], headings: Mapping[str, str]) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, key in node["properties"].items():
        default = "required" if name in node.get("required", ()) else _default(key)
        cells = (f"`{name}`", _type(key, headings), default, key["description"])
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _default(key: Mapping[str, Any]) -> str:
    value = key["default"]
    if isinstance(value, dict) and (value or "$ref" in key):
        return "see `configs/base.yaml`" if value else "its defaults"
    return f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) and value else json.dumps(value)


def _type(node: Mapping[str, Any], headings: Mapping[str, str]) -> str:
    """The type of a key in words."""
    if "$ref" in node:
        heading = headings[_name(node)]
        variant = heading.partition(" with ")[2]
        return f"[{variant or 'mapping'}](#{_slug(heading)})"
    members = node.get("anyOf") or node.get("oneOf")
    if members:
        words = dict.fromkeys(_type(member, headings) for member in members)
        return ", or ".join(each for each in words if each != "whole number" or "number" not in words)
    choices = node.get("enum") or ([node["const"]] if "const" in node else [])
    if choices:
        return _either([f"`{choice}`" for choice in choices])
    if node.get("title") == "Duration":
        return "duration"
    if node.get("format") == "date-time":
        return "time"
    kind = node.get("type", "any")
    return _CONTAINERS[kind](node, headings) if kind in _CONTAINERS else _SCALARS[kind] + _bounds(node)


def _either(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _list(node: Mapping[str, Any], headings: Mapping[str, str]) -> str:
    if "prefixItems" in node:
        return f"[{', '.join(_type(each, headings) for each in node['prefixItems'])}]"
    items = re.sub(r"(?<!`)\b(text|number|mapping)\b", r"\1s", _type(node["items"], headings))
    least = f"{node['minItems']} or more " if "minItems" in node else ""
    return f"list of {least}{items}"


def _mapping(node: Mapping[str, Any], headings: Mapping[str, str]) -> str:
    names = _type(node["propertyNames"], headings) if "propertyNames" in node else "name"
    values = node.get("additionalProperties")
    return f"mapping of {names} to {_type(values, headings) if isinstance(values, Mapping) else 'any value'}"


_CONTAINERS = {"array": _list, "object": _mapping}
_SCALARS = {
    "any": "any value",
    "boolean": "true or false",
    "integer": "whole number",
    "null": "null",
    "number": "number",
    "string": "text",
}
_SIGNS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}


def _bounds(node: Mapping[str, Any]) -> str:
    if "pattern" in node:
        return f" that matches `{node['pattern']}`"
    bounds = [f"{sign} {_yaml(node[name])}" for name, sign in _SIGNS.items() if name in node]
    return f" {' and '.join(bounds)}" if bounds else ""


if __name__ == "__main__":
    for path, content in generated().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
