"""Run behavioural tests of a model on held-out rows: scores after a change of an input, and on important rows.

After M. T. Ribeiro et al., Beyond Accuracy: Behavioral Testing of NLP Models with CheckList, ACL 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from configs.errors import HeadraceError
from configs.evaluation import BehaviourTest, Direction, Invariance, Minimum
from configs.reading import nearest
from feature_repo.frames.request_ids import id_text
from ray_cluster.evaluation.metrics import MIN_MEASURED_ROWS, metrics

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BehaviourError", "check_behaviour", "run_behaviour"]

Values = npt.NDArray[Any]
Score = Callable[["pd.DataFrame"], Values]
#: Number of rows for testing a changed input, spread evenly over the held-out period.
ROWS = 2000


class BehaviourError(HeadraceError, ValueError):
    """A test does not fit the features; the message has the test and what was expected."""


def check_behaviour(model: str, tests: Sequence[BehaviourTest], features: pd.DataFrame) -> None:
    """Check that every test names existing features of the right type, before anything is fitted.

    Raises:
        BehaviourError: there is no such feature (the message has the nearest name), its type does not fit, or ``where``
            is not SQL over the features.
    """
    known = [str(column) for column in features]
    for test in tests:
        about = f"Model '{model}', behaviour '{test.name}'"
        if not isinstance(test, Minimum):
            if test.feature not in known:
                raise BehaviourError(
                    f"{about}: the feature service has no feature '{test.feature}'.{nearest(test.feature, known)} "
                    f"Known: {', '.join(known)}."
                )
            text = features[test.feature].dtype == object
            if isinstance(test, Direction) and text:
                raise BehaviourError(f"{about}: feature '{test.feature}' is text and cannot be raised; use a number.")
            if isinstance(test, Invariance) and isinstance(test.values[0], str) != text:
                kind = "text" if text else "a number"
                raise BehaviourError(
                    f"{about}: values = {test.values}, but feature '{test.feature}' is {kind}; use values of its type."
                )
        if test.where is not None:
            _matching(features.head(0), test.where, about)


def run_behaviour(
    tests: Sequence[BehaviourTest], frame: pd.DataFrame, ids: Sequence[Any], y: Values, score: Score, threshold: float
) -> list[dict[str, Any]]:
    """Run each test on held-out rows.

    Args:
            frame: the inputs, shape (rows, features). ids: the id of each row. y: labels 0 or 1, shape (rows,).
            score: returns the probability of each row of such a frame. threshold: for precision, recall and F1.

        Returns:
            Per test: ``name``, ``test``, ``required``, ``says`` (the expectation as a sentence), ``rows`` (number of
            tested rows), ``passed`` (None if there are too few rows), ``failing`` (share of rows that failed, for tests
            of single rows) or ``value`` (of a minimum), and ``example``: ``{id, before, after, change}`` of the row
            with the largest failure, None if no row failed.
    """
    found = []
    for test in tests:
        rows = np.arange(len(frame))
        if test.where is not None:
            rows = np.flatnonzero(_matching(frame, test.where, f"behaviour '{test.name}'"))
        result: dict[str, Any] = {"name": test.name, "test": test.test, "required": test.required, "where": test.where}
        if isinstance(test, Minimum):
            found.append(result | _minimum(test, rows, frame, ids, y, score, threshold))
            continue
        if isinstance(test, Direction):
            rows = rows[frame[test.feature].iloc[rows].notna().to_numpy()]
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(int))] if len(rows) else rows
        changed = _invariance if isinstance(test, Invariance) else _direction
        found.append(result | changed(test, rows, frame.iloc[rows], ids, score))  # type: ignore[arg-type]
    return found


def _invariance(
    test: Invariance, rows: Values, frame: pd.DataFrame, ids: Sequence[Any], score: Score
) -> dict[str, Any]:
    says = (
        f"{test.feature} set to {', '.join(map(str, test.values))} moves the score by at most {test.tolerance:g} "
        f"in {test.share:.0%} of rows"
    )
    if not len(rows):
        return _unjudged(says)
    scores = np.stack([score(frame.assign(**{test.feature: value})) for value in test.values])
    moved = scores.max(axis=0) - scores.min(axis=0)
    worst = int(np.argmax(moved))
    ends = int(scores[:, worst].argmin()), int(scores[:, worst].argmax())
    return _judged(
        says,
        moved > test.tolerance,
        test.share,
        {
            "id": id_text(ids[rows[worst]]),
            "change": f"{test.feature}: {test.values[ends[0]]} → {test.values[ends[1]]}",
            "before": float(scores[ends[0], worst]),
            "after": float(scores[ends[1], worst]),
        },
    )


def _direction(test: Direction, rows: Values, frame: pd.DataFrame, ids: Sequence[Any], score: Score) -> dict[str, Any]:
    against_it = "lower" if test.score == "up" else "raise"
    says = (
        f"{test.feature} {test.raise_by:+g} does not {against_it} the score by more than {test.tolerance:g} "
        f"in {test.share:.0%} of rows"
    )
    if not len(rows):
        return _unjudged(says)
    before = score(frame)
    after = score(frame.assign(**{test.feature: frame[test.feature] + test.raise_by}))
    against = before - after if test.score == "up" else after - before
    worst = int(np.argmax(against))
    value = float(frame[test.feature].iloc[worst])
    return _judged(
        says,
        against > test.tolerance,
        test.share,
        {
            "id": id_text(ids[rows[worst]]),
            "change": f"{test.feature}: {value:g} → {value + test.raise_by:g}",
            "before": float(before[worst]),
            "after": float(after[worst]),
        },
    )


def _minimum(
    test: Minimum, rows: Values, frame: pd.DataFrame, ids: Sequence[Any], y: Values, score: Score, threshold: float
) -> dict[str, Any]:
    bounds = [
        f"at {word} {bound:g}"
        for word, bound in (("least", test.at_least), ("most", test.at_most))
        if bound is not None
    ]
    says = f"{test.metric} is {' and '.join(bounds)}" + (f" where {test.where}" if test.where else "")
    labels = np.asarray(y)[rows]
    positives = int(labels.sum())
    if not len(rows) or (test.metric != "mean_score" and min(positives, len(rows) - positives) < MIN_MEASURED_ROWS):
        return _unjudged(says, len(rows))
    scores = score(frame.iloc[rows])
    means = test.metric == "mean_score"
    value = float(scores.mean()) if means else metrics(labels, scores, threshold)[test.metric]
    low = test.at_least is not None and value < test.at_least
    passed = not low and (test.at_most is None or value <= test.at_most)
    worst = int(np.argmin(scores) if low else np.argmax(scores))
    example = {"id": id_text(ids[rows[worst]]), "change": None, "before": float(scores[worst]), "after": None}
    return {
        "says": says,
        "rows": len(rows),
        "passed": passed,
        "failing": None,
        "value": value,
        "example": None if passed else example,
    }


def _judged(says: str, failed: Values, share: float, example: dict[str, Any]) -> dict[str, Any]:
    failing = float(failed.mean())
    return {
        "says": says,
        "rows": len(failed),
        "passed": bool(failing <= 1 - share + 1e-12),
        "failing": failing,
        "value": None,
        "example": example if failed.any() else None,
    }


def _unjudged(says: str, rows: int = 0) -> dict[str, Any]:
    return {"says": says, "rows": rows, "passed": None, "failing": None, "value": None, "example": None}


def _matching(frame: pd.DataFrame, where: str, about: str) -> Values:
    """Mask of the rows for which an SQL condition over the features is true; null (and NaN) counts as false."""
    import duckdb
    import pyarrow as pa

    with duckdb.connect(config={"enable_external_access": False}) as connection:
        connection.register("features", pa.Table.from_pandas(frame, preserve_index=False))
        try:
            found = connection.execute(f"SELECT coalesce(({where}), false) AS holds FROM features").fetchnumpy()
        except duckdb.Error as error:
            why = str(error).strip().splitlines()[0].rstrip(".")
            raise _refusal(about, where, why) from None
    mask = np.asarray(found["holds"])
    if len(mask) != len(frame) or mask.dtype != bool:
        raise _refusal(about, where, "it is not a condition on single rows")
    return mask


def _refusal(about: str, where: str, why: str) -> BehaviourError:
    return BehaviourError(f"{about}: where = '{where}' cannot be used: {why}; correct it in the model's file.")
