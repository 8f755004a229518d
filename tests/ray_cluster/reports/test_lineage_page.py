"""The page of a lineage: every node is drawn once, inside, beside no other; every value is escaped."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from ray_cluster.lineage.changes import Change
from ray_cluster.lineage.graph import COLUMNS, Lineage, Node
from ray_cluster.reports.lineage_page import layout, render_lineage


def lineage(sizes: list[int], name: str = "n") -> Lineage:
    nodes = [
        Node(f"{column}:{place}", column, f"{name}{place}", {"query": "0123456789abcdef", "rows": "12"})
        for column, size in enumerate(sizes)
        for place in range(size)
    ]
    edges = [(one.id, other.id) for one, other in combinations(nodes, 2) if other.column - one.column in (0, 1)]
    return Lineage("m", "m version 1", nodes, edges, [], {})


@given(st.lists(st.integers(0, 9), min_size=len(COLUMNS), max_size=len(COLUMNS)).filter(any))
@settings(max_examples=40, deadline=None)
def test_boxes_lie_inside_and_apart(sizes):
    found = lineage(sizes)
    boxes, paths, (width, height) = layout(found)
    assert len(boxes) == sum(sizes) and len(paths) == len(found.edges)
    for box in boxes:
        assert box.x >= 0 and box.x + box.width <= width and box.y >= 0 and box.y + box.height <= height
    for one, other in combinations(boxes, 2):
        apart = abs(one.x - other.x) >= one.width or abs(one.y - other.y) >= one.height
        assert apart, (one, other)


def test_names_are_escaped_and_changes_marked():
    found = lineage([1, 1, 1, 1, 1], name="<b>&")
    node = Node("x", 0, "weather", {}, ["the rows known then are different now"], "javascript:alert(1)")
    change = Change("table", "weather", "the rows known then are different now on <2013-02-03>", "frame")
    nodes, kept = [*found.nodes, node], {"as_of": "2013-03-25"}
    page = render_lineage(Lineage("m", "m version 1", nodes, found.edges, [change], kept))
    assert "<b>&" not in page and "&lt;b&gt;&amp;" in page and "javascript:" not in page
    assert (
        'class="changed"' in page
        and "1 change that can change a training today" in page
        and "&lt;2013-02-03&gt;" in page
    )


def test_a_run_that_kept_nothing_says_so():
    page = render_lineage(lineage([0, 0, 0, 1, 0]))
    assert "this run has no provenance" in page and "no record to compare with" in page
