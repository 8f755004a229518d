"""Measure scores against outcomes: metrics, curves, the threshold of the best F1. Pure functions of arrays."""

from __future__ import annotations

import numpy as np

__all__ = ["MIN_CLASS_ROWS", "calibration", "curves", "f1_threshold", "metrics", "ranking", "reliability"]

#: A ranking metric (ROC AUC, average precision) is judged only on as many rows of each class: on fewer its interval is
#: too wide to tell good from bad.
MIN_CLASS_ROWS = 30


def ranking(y: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """ROC AUC and average precision (PR AUC)."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {
        "roc_auc": float(roc_auc_score(y, scores)),
        "average_precision": float(average_precision_score(y, scores)),
    }


def metrics(y: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    """Ranking, probability and decision metrics of scores in [0, 1]; positive at ``scores >= threshold``."""
    from sklearn.metrics import brier_score_loss, f1_score, log_loss, precision_score, recall_score

    decided = scores >= threshold
    predicted, observed, rows = calibration(y, scores)
    return {
        **ranking(y, scores),
        "brier": float(brier_score_loss(y, scores)),
        "log_loss": float(log_loss(y, np.clip(scores, 1e-7, 1 - 1e-7))),
        "precision": float(precision_score(y, decided, zero_division=0)),
        "recall": float(recall_score(y, decided, zero_division=0)),
        "f1": float(f1_score(y, decided, zero_division=0)),
        "ece": float(np.sum(np.abs(np.subtract(predicted, observed)) * rows) / np.sum(rows)),
    }


def calibration(y: np.ndarray, scores: np.ndarray, bins: int = 15) -> tuple[list[float], list[float], list[int]]:
    """Mean score, share of positives and rows in ``bins`` groups of equal size by score (empty groups left out).

    Expected calibration error over such groups: Naeini et al., AAAI 2015, with equal-mass bins.
    """
    order = np.argsort(scores, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    return (
        [float(np.mean(scores[group])) for group in groups],
        [float(np.mean(y[group])) for group in groups],
        [len(group) for group in groups],
    )


def reliability(y: np.ndarray, scores: np.ndarray) -> dict[str, list[float]]:
    """What a reliability plot shows: ``predicted`` (mean score), ``observed`` (share of positives) and ``rows`` of each
    group of :func:`calibration`."""
    predicted, observed, rows = calibration(y, scores)
    return {"predicted": predicted, "observed": observed, "rows": [float(count) for count in rows]}


def curves(y: np.ndarray, scores: np.ndarray, points: int = 200) -> dict[str, dict[str, list[float]]]:
    """ROC, precision-recall and calibration curves, thinned to at most ``points`` points each, and score counts."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    false_positive, true_positive, _ = roc_curve(y, scores)
    precision, recall, _ = precision_recall_curve(y, scores)
    edges = np.linspace(0, 1, 41)

    def thin(values: np.ndarray) -> list[float]:
        return [float(value) for value in values[np.unique(np.linspace(0, len(values) - 1, points).astype(int))]]

    return {
        "roc": {"x": thin(false_positive), "y": thin(true_positive)},
        "pr": {"x": thin(recall), "y": thin(precision)},
        "calibration": reliability(y, scores),
        "scores": {
            "edges": edges.tolist(),
            "positives": np.histogram(scores[y == 1], edges)[0].astype(float).tolist(),
            "negatives": np.histogram(scores[y == 0], edges)[0].astype(float).tolist(),
        },
    }


def f1_threshold(y: np.ndarray, scores: np.ndarray) -> float:
    """The threshold with the highest F1, kept inside (0, 1)."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(y, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(np.clip(thresholds[int(np.argmax(f1[:-1]))], 1e-6, 1 - 1e-6))
