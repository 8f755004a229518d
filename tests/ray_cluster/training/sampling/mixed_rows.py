"""Rows as a training has them: numbers, whole numbers, texts, missing values, few positives."""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["mixed"]


def mixed(rows: int, positives: float, seed: int, missing: float = 0.1) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Features, labels and ids of ``rows`` rows, of which about a share of ``positives`` is positive (at least 12)."""
    random = np.random.default_rng(seed)
    y = (random.random(rows) < positives).astype(int)
    y[random.choice(rows, 12, replace=False)] = 1
    y[:2] = 0
    amount = random.gamma(2, 20, rows) * (1 + y)
    frame = pd.DataFrame(
        {
            "amount": amount,
            "balance": 0.8 * amount + random.normal(0, 10, rows),
            "hour": random.integers(0, 24, rows).astype(float),
            "channel": random.choice(
                np.array(["chip", "online", "contactless"], dtype=object), rows, p=[0.6, 0.3, 0.1]
            ),
            "tier": random.choice(np.array(["gold", "basic"], dtype=object), rows),
        }
    )
    for name in ("balance", "hour", "channel"):
        gone = random.random(rows) < missing
        frame.loc[gone, name] = None if frame[name].dtype == object else np.nan
    return frame, y, np.array([f"row{number}" for number in range(rows)], dtype=object)
