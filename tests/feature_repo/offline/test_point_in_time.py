"""The rule on arrays against the rule read literally."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.offline.point_in_time import grouped, timeline

ENTITIES = st.sampled_from([0, 1, 2, 2**30])
histories = st.lists(st.tuples(ENTITIES, st.integers(-5, 15), st.integers(-5, 25)), max_size=40)
lookups = st.lists(st.tuples(ENTITIES, st.integers(-8, 30)), min_size=1, max_size=20)


def counting(history: list[tuple[int, int, int]], entity: int, at: int) -> int:
    visible = [
        (event, known, row)
        for row, (whose, event, known) in enumerate(history)
        if whose == entity and event <= at and known <= at
    ]
    return max(visible)[2] if visible else -1


@settings(max_examples=500, deadline=None)
@given(history=histories, asked=lookups)
def test_the_row_that_counts(history, asked):
    entities, event, known = (np.array([row[place] for row in history], np.int64) for place in range(3))
    asked = sorted(asked, key=lambda pair: pair[1])
    line = timeline(entities, event, known)
    visible = line.visible(np.array([at for _, at in asked]))
    found = line.rows(np.array([entity for entity, _ in asked]), visible)
    assert found.tolist() == [counting(history, entity, at) for entity, at in asked]


def test_files_in_the_order_of_time_are_not_sorted_again():
    """The last row of a tie wins on this shorter way too."""
    event = np.array([1, 1, 1, 5], np.int64)
    line = timeline(np.zeros(4, np.int64), event, event)
    assert line.rows(np.zeros(3, np.int64), line.visible(np.array([0, 1, 9]))).tolist() == [-1, 2, 3]


@given(st.lists(st.integers(-1, 5)))
def test_grouped_keeps_the_order_within_an_entity(entities):
    expected = sorted((place for place, entity in enumerate(entities) if entity >= 0), key=lambda at: entities[at])
    assert grouped(np.array(entities, np.int64)).tolist() == expected
