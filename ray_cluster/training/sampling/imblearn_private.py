"""What Headrace uses of imbalanced-learn's private methods: the parents of the rows that SMOTE makes.

tests/ray_cluster/training/sampling/test_imblearn_private.py fails if a new version changes it.
"""

from __future__ import annotations

from typing import Any

__all__ = ["remembering"]


def remembering(kind: type) -> Any:
    """A sampler class that stores the parents of its rows: ``first_`` and ``second_``, and ``steps_``."""

    class Remembering(kind):  # type: ignore[misc]
        def _generate_samples(
            self, x: Any, nn_data: Any, nn_num: Any, rows: Any, cols: Any, steps: Any, *more: Any, **named: Any
        ) -> Any:
            self.first_, self.second_, self.steps_ = rows, nn_num[rows, cols], steps[:, 0]
            return super()._generate_samples(x, nn_data, nn_num, rows, cols, steps, *more, **named)

    Remembering.__name__ = kind.__name__
    return Remembering
