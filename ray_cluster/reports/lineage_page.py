"""The page of a version's lineage: the graph from raw tables to its uses, and the changes since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray_cluster.lineage.graph import COLUMNS, Lineage, Node
from ray_cluster.reports.page import environment

__all__ = ["Box", "layout", "render_lineage"]

_WIDE, _TALL, _GAP, _BETWEEN, _TOP = 150, 62, 16, 48, 30


@dataclass(frozen=True)
class Box:
    """Position of a node in the drawing: its upper left corner, in pixels."""

    node: Node
    x: float
    y: float
    width: float = _WIDE
    height: float = _TALL

    @property
    def name(self) -> str:
        return _cut(self.node.name, 19)

    @property
    def lines(self) -> list[str]:
        """The first facts, cut to fit."""
        return [_cut(f"{name} {_short(value)}", 23) for name, value in list(self.node.facts.items())[:2]]


def layout(lineage: Lineage) -> tuple[list[Box], list[str], tuple[float, float]]:
    """Boxes in columns, each column centred; the paths of the edges; width and height of the drawing."""
    columns = [[node for node in lineage.nodes if node.column == number] for number in range(len(COLUMNS))]
    most = max((len(column) for column in columns), default=1)
    height = _TOP + most * (_TALL + _GAP)
    boxes = []
    for number, column in enumerate(columns):
        top = _TOP + (height - _TOP - len(column) * (_TALL + _GAP)) / 2
        boxes += [
            Box(node, number * (_WIDE + _BETWEEN) + 1, top + place * (_TALL + _GAP))
            for place, node in enumerate(column)
        ]
    at = {box.node.id: box for box in boxes}
    paths = [_path(at[source], at[target]) for source, target in lineage.edges]
    return boxes, paths, (len(COLUMNS) * (_WIDE + _BETWEEN) - _BETWEEN + 2, height)


def render_lineage(lineage: Lineage) -> str:
    """Return the page; every value is escaped."""
    boxes, paths, (width, height) = layout(lineage)
    columns = [(name, number * (_WIDE + _BETWEEN) + 1) for number, name in enumerate(COLUMNS)]
    affecting = [each for each in lineage.changes if each.affects != "nothing"]
    return (
        environment()
        .get_template("lineage.html.j2")
        .render(
            lineage=lineage,
            boxes=boxes,
            paths=paths,
            columns=columns,
            width=width,
            height=height,
            affecting=affecting,
            beside=[each for each in lineage.changes if each.affects == "nothing"],
            provenance=lineage.provenance,
            tables=_tables(lineage),
        )
    )


def _tables(lineage: Lineage) -> list[dict[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = lineage.provenance.get("tables") or {}
    changed = {each.name: each for each in lineage.changes if each.kind == "table"}
    return [{"table": table, **facts, "change": changed.get(table)} for table, facts in found.items()]


def _path(source: Box, target: Box) -> str:
    """Path from the right edge of one box to the left edge of another; in a column, down, or around its right side."""
    y1, y2 = source.y + _TALL / 2, target.y + _TALL / 2
    x1, x2 = source.x + _WIDE, target.x
    if source.x == target.x:
        if 0 < target.y - source.y <= _TALL + _GAP:
            return f"M{source.x + 20:.1f} {source.y + _TALL:.1f}V{target.y:.1f}"
        bend = x1 + _BETWEEN * 0.6
        return f"M{x1:.1f} {y1:.1f}C{bend:.1f} {y1:.1f} {bend:.1f} {y2:.1f} {x1:.1f} {y2:.1f}"
    middle = (x1 + x2) / 2
    return f"M{x1:.1f} {y1:.1f}C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"


def _short(value: str) -> str:
    """The first characters of a fingerprint."""
    return value[:10] if len(value) >= 16 and value.isalnum() else value


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
