# ruff: noqa: E501
"""Realistic evidence for a page, made from a simulated model; no part of the stack is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from configs.evaluation import Costs, Fairness
from configs.model import load_model
from configs.promotion import Gate
from configs.training import Sampling
from feature_repo.tables.table_profile import profile_table
from ray_cluster.decisions.decision import monitoring_verdict, promotion, sampling_verdict
from ray_cluster.evaluation.fairness import fairness
from ray_cluster.evaluation.intervals import intervals
from ray_cluster.evaluation.metrics import cost_evidence
from ray_cluster.evaluation.slices import worst_slice
from ray_cluster.monitoring.measurements import measure
from ray_cluster.registry.evidence import Dataset, Evaluation, SamplingResult
from ray_cluster.reports.lifecycle_content import ReportContent

FEATURES = [
    "origin_delay_mean_1h",
    "wind_speed",
    "visibility",
    "precipitation",
    "pressure",
    "humidity",
    "carrier_delay_share_7d",
    "dest_delay_mean_24h",
    "tail_previous_delay",
    "tail_turnaround_minutes",
    "origin_departures_1h",
    "origin_cancelled_share_6h",
    "plane_age_years",
    "seats",
    "distance",
    "route_delay_mean_28d",
    "temperature",
    "dew_point",
    "wind_gust",
    "wind_direction",
]


def frame(rows: int, start: str, days: int, shift: float, seed: int) -> pd.DataFrame:
    """Held-out or live rows: features, ``score``, ``label``, ``id``, ``prediction_time``."""
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {name: random.gamma(2, 1, rows) + shift * (i % 4 == 0) for i, name in enumerate(FEATURES)}
    columns["month"] = np.full(rows, pd.Timestamp(start).month)
    columns["carrier"] = random.choice(
        ["UA", "B6", "EV", "DL", "AA", "MQ", "US", "WN", "9E"],
        rows,
        p=np.array([58, 54, 54, 48, 33, 26, 20, 12, 5]) / 310,
    )
    columns["origin"] = random.choice(["EWR", "JFK", "LGA"], rows)
    logit = (
        -3.2
        + 0.55 * columns[FEATURES[0]]
        + 0.3 * columns[FEATURES[6]]
        - 0.3 * columns["visibility"]
        + 0.4 * columns[FEATURES[8]]
    )
    columns["score"] = 1 / (1 + np.exp(-logit))
    columns["label"] = (random.random(rows) < 1 / (1 + np.exp(-logit - 0.8 * random.normal(size=rows)))).astype(int)
    table = pd.DataFrame(columns)
    table.loc[random.random(rows) < 0.08, "wind_gust"] = np.nan
    table["prediction_time"] = pd.Timestamp(start, tz="UTC") + pd.to_timedelta(random.random(rows) * days, unit="D")
    table["id"] = [f"{start}-{row}" for row in range(rows)]
    return table


def evaluation(rows: pd.DataFrame) -> Evaluation:
    """An evaluation as it is kept with a run."""
    labels, scores = rows["label"].to_numpy(), rows["score"].to_numpy()
    threshold = 0.42
    flagged = scores >= threshold
    false, true, _ = roc_curve(labels, scores)
    precision, recall, _ = precision_recall_curve(labels, scores)
    thin = slice(None, None, max(1, len(false) // 200))
    thin_pr = slice(None, None, max(1, len(recall) // 200))
    bins = pd.qcut(scores, 12, labels=False, duplicates="drop")
    grouped = rows.groupby(bins)
    edges = np.linspace(0, 1, 41)
    slices = []
    for column in ("carrier", "origin"):
        for value, part in rows.groupby(column):
            slices.append(
                {
                    "slice": column,
                    "value": value,
                    "rows": len(part),
                    "positives": int(part["label"].sum()),
                    "roc_auc": roc_auc_score(part["label"], part["score"]),
                    "average_precision": average_precision_score(part["label"], part["score"]),
                    "intervals": {"roc_auc": [0.7, 0.9], "average_precision": [0.3, 0.6]},
                }
            )
    auc, area = roc_auc_score(labels, scores), average_precision_score(labels, scores)
    hit, share = labels[flagged].mean(), flagged[labels == 1].mean()
    period = {"rows": len(rows), "positives": int(labels.sum())}
    found = {
        "periods": {
            "train": {
                "start": "2013-01-01T00:00:00+00:00",
                "end": "2013-08-16T00:00:00+00:00",
                "rows": 209_311,
                "positives": 41_020,
            },
            "validation": {
                "start": "2013-08-16T00:00:00+00:00",
                "end": "2013-10-01T00:00:00+00:00",
                "rows": 41_002,
                "positives": 5_611,
            },
            "held_out": {"start": "2013-10-01T00:00:00+00:00", "end": "2013-12-17T00:00:00+00:00", **period},
        },
        "family": "xgboost",
        "params": {
            "learning_rate": 0.0812,
            "max_depth": 7,
            "min_child_weight": 8.3,
            "subsample": 0.83,
            "iterations": 150,
        },
        "threshold": threshold,
        "metrics": {
            "roc_auc": auc,
            "average_precision": area,
            "brier": float(np.mean((scores - labels) ** 2)),
            "log_loss": 0.4712,
            "precision": float(hit),
            "recall": float(share),
            "f1": float(2 * hit * share / (hit + share)),
            "ece": 0.0214,
        },
        "baselines": {
            "base rate": {"roc_auc": 0.5, "average_precision": float(labels.mean())},
            "logistic regression, calendar only": {"roc_auc": auc - 0.12, "average_precision": area - 0.17},
            "XGBoost defaults, all features": {"roc_auc": auc - 0.012, "average_precision": area - 0.021},
        },
        "curves": {
            "roc": {"x": [*false[thin].tolist(), 1.0], "y": [*true[thin].tolist(), 1.0]},
            "pr": {"x": recall[thin_pr].tolist(), "y": precision[thin_pr].tolist()},
            "calibration": {
                "predicted": grouped["score"].mean().tolist(),
                "observed": grouped["label"].mean().tolist(),
                "rows": grouped.size().tolist(),
            },
            "calibration_before": {
                "predicted": np.clip(grouped["score"].mean() * 1.3, 0, 1).tolist(),
                "observed": grouped["label"].mean().tolist(),
                "rows": grouped.size().tolist(),
            },
            "scores": {
                "edges": edges.tolist(),
                "positives": np.histogram(scores[labels == 1], edges)[0].tolist(),
                "negatives": np.histogram(scores[labels == 0], edges)[0].tolist(),
            },
        },
        "slices": slices,
        "worst_slice": worst_slice(slices),
        **judged(rows, labels, scores, threshold),
    }
    return Evaluation.from_json(found, "an example")


def judged(rows: pd.DataFrame, labels: Any, scores: Any, threshold: float) -> dict[str, Any]:
    """What the evaluation holds beside metrics, curves and slices."""
    days = np.arange(len(rows)) * 77 // len(rows)
    costs = Costs(false_positive=1, false_negative=4)
    names = [*FEATURES, "carrier", "origin"]
    moved = {"id": "UA997-EWR", "change": "visib: 10 → 7", "before": 0.327, "after": 0.304}
    says = "visib -3 does not lower the score by more than 0.01 in 95% of rows"
    test = {"test": "direction", "required": True, "where": "visib > 4", "says": says, "value": None, "example": None}
    fair = fairness(rows, Fairness(groups=["origin"], gap=0.1), labels, scores, threshold, days)
    del fair[0]["gaps"]["equalised_odds"]
    return {
        "intervals": {name: list(ends) for name, ends in intervals(labels, scores, days, threshold).items()},
        "calibration": {"method": "sigmoid", "rows": 41_002, "ece_before": 0.061, "ece_after": 0.0214},
        "costs": cost_evidence(labels, scores, threshold, costs, days),
        "importance": [{"feature": name, "importance": 0.21 * 0.8**i, "spread": 0.001} for i, name in enumerate(names)],
        "shap": [{"feature": name, "contribution": 0.4 * 0.85**i} for i, name in enumerate(names)],
        "behaviour": [
            {**test, "name": "worse sight is no less risk", "rows": 2000, "passed": True, "failing": 0.002},
            {**test, "name": "rain", "rows": 2000, "passed": False, "failing": 0.21, "example": moved},
            {**test, "name": "snow", "test": "minimum", "rows": 3, "passed": None, "failing": None, "required": False},
        ],
        "fairness": [{**fair[0], "within": False}],
        "folds": {
            "windows": [
                {"start": f"2013-0{month}-01T00:00:00+00:00", "end": f"2013-0{month + 1}-01T00:00:00+00:00"}
                for month in (6, 7, 8)
            ],
            "finalists": [
                {"trial": "02", "family": "xgboost", "metrics": [0.41, 0.43, 0.44], "mean": 0.427, "chosen": True},
                {"trial": "00", "family": "xgboost", "metrics": [0.4, 0.42, 0.45], "mean": 0.423, "chosen": False},
            ],
        },
    }


def trials() -> list[dict[str, Any]]:
    """Eight trials of two boosted families, half of them stopped early and one of them past its best, and trials of every
    other kind, one failed."""
    random, found = np.random.default_rng(5), []
    for number in range(8):
        family = "xgboost" if number < 5 else "hist_gradient_boosting"
        end, stop = 0.40 + 0.05 * random.random(), [150, 45, 150, 30, 90, 120, 60, 30][number]
        steps = np.arange(15, stop + 1, 15)
        values = end * (1 - 0.35 * np.exp(-steps / 35)) + 0.002 * random.normal(size=len(steps))
        values += (0.006 - 0.002 * np.maximum(steps - 135, 0)) * (number == 2)
        best = int(np.argmax(values))
        rate = float(np.exp(random.uniform(np.log(0.04), np.log(0.25))))
        tree = {
            "max_depth": int(random.integers(4, 10)),
            "min_child_weight": float(np.exp(random.uniform(0, 4))),
            "subsample": float(random.uniform(0.6, 1)),
            "reg_lambda": float(np.exp(random.uniform(-1, 3))),
        }
        leaf = {
            "max_leaf_nodes": int(random.integers(15, 63)),
            "min_samples_leaf": int(random.integers(20, 200)),
            "l2_regularization": float(np.exp(random.uniform(-6, 2))),
        }
        found.append(
            {
                "trial": f"{number:02d}",
                "family": family,
                "params": {"learning_rate": rate, **(tree if number < 5 else leaf)},
                "status": "finished" if stop in (150, 120) else "stopped early",
                "iterations": int(steps[best]),
                "metric": float(values[best]),
                "seconds": 0.21 * stop,
                "history": [[int(step), float(value)] for step, value in zip(steps, values, strict=True)],
            }
        )
    others: list[tuple[str, dict[str, Any], str, list[list[float]]]] = [
        ("logistic_regression", {"C": 0.3, "class_weight": "balanced"}, "finished", [[1, 0.371]]),
        ("mlp", {"hidden_layer_sizes": [64], "alpha": 0.001}, "finished", [[2, 0.35], [6, 0.39], [12, 0.402]]),
        ("mlp", {"hidden_layer_sizes": [32, 16], "alpha": 0.03}, "stopped early", [[2, 0.33], [4, 0.361]]),
        ("random_forest", {"min_samples_leaf": 20}, "finished", [[20, 0.392], [60, 0.4], [100, 0.401]]),
        ("acme.models:TwoStage", {"alpha": 0.2}, "finished", [[1, 0.38]]),
        ("acme.models:TwoStage", {"alpha": 0.9}, "failed", []),
    ]
    for number, (family, params, status, history) in enumerate(others, start=8):
        found.append(
            {
                "trial": f"{number:02d}",
                "family": family,
                "params": params,
                "status": status,
                "iterations": int(history[-1][0]) if history else 0,
                "metric": history[-1][1] if history else None,
                "seconds": 3.0,
                "history": history,
                "reason": "ValueError: alpha is too large" if status == "failed" else "",
            }
        )
    return found  # the first was chosen, though another is ahead on the last window


def sampling() -> SamplingResult:
    """A selection among four samplers of which one is kept, one could not contend and two did not help."""
    figures = {"class_weight": (-0.012, 0.011), "smote": (0.017, 0.011), "undersample": (-0.061, 0.013)}
    table: list[dict[str, Any]] = []
    for name in ("none", "threshold", "class_weight", "undersample", "smote", "adasyn"):
        gain, half = figures.get(name, (0.0, 0.0))
        row = {"contender": name, "value": 0.41 + gain, "gain": gain, "low": gain - half, "high": gain + half}
        if name == "adasyn":
            row = {
                "contender": name,
                "error": "ADASYN found no negative among the neighbours of any positive; use smote instead.",
            }
        else:
            row |= {"error": None}
        table.append({**row, "seconds": 0.0 if name == "threshold" else 2.4})
        if row["error"]:
            continue
        made = 1_800 if name == "smote" else 0
        table[-1] |= {"rows": 60_000 + made, "positives": 210 + made, "synthetic": made, "shift": 2.3, "note": ""}
        table[-1] |= {"threshold": 0.2, "f1": 0.44 if name != "none" else 0.31, "checks": None}
        table[-1]["held_out"] = {"average_precision": 0.38 + gain, "interval": [0.33, 0.44], "f1": 0.41, "gain": gain}
        if made:
            table[-1]["checks"] = {
                part: {"verdict": f"Of the {part} there is this to say."}
                for part in ("duplicates", "closest", "columns", "pairs")
            }
    keys = ("contender", "value", "gain", "low", "high", "error")
    evidence = {
        "metric": "average_precision", "level": 0.9875, "rows": 31_000, "positives": 97, "days": 51,
        "contenders": [{key: row[key] for key in keys if key in row} for row in table],
    }  # fmt: skip
    rule = Sampling(method="select", contenders=["threshold", "class_weight", "undersample", "smote", "adasyn"])
    decision = sampling_verdict(evidence, rule)
    kept = decision.evidence["kept"]
    return SamplingResult(decision=decision.to_dict(), kept=kept, trial="3", contenders=table)


def measured_beside() -> dict[str, Any]:
    """What the gates take beside metrics, as :func:`ray_cluster.promotion.challenge.challenge` measures it."""
    gain = {"metric": "average_precision", "confidence": 0.9, "mean": 0.011, "low": 0.004, "high": 0.018, "share": 0.99}
    slices = [
        {"slice": "origin", "value": "EWR", "rows": 4100, "positives": 900, "challenger": 0.71, "champion": 0.70},
        {"slice": "origin", "value": "LGA", "rows": 3800, "positives": 700, "challenger": 0.69, "champion": 0.70},
    ]
    return {
        "versions": {"challenger": 3, "champion": 2},
        "gain": {**gain, "days": 77, "rows": 12_000},
        "slices": slices,
        "latency_ms": {"challenger": 6.2, "champion": 5.9},
        "size_mb": {"challenger": 0.71, "champion": 0.68},
    }


def content(seed: int = 0) -> ReportContent:
    """A page's whole content."""
    spec = load_model("flight_delay")
    held_out, live = frame(12_000, "2013-10-01", 77, 0.0, seed), frame(4_200, "2013-12-17", 14, 0.9, seed + 1)
    live["label"] |= (np.random.default_rng(seed).random(len(live)) < 0.15).astype(int)  # more positives than predicted
    facts = evaluation(held_out)
    log = pd.DataFrame(
        {
            "id": live["id"],
            "as_of": live["prediction_time"],
            "version": 3,
            "score": live["score"],
            "threshold": 0.42,
            "features": live[[*FEATURES, "month", "carrier", "origin"]].to_dict("records"),
        }
    )
    measured = measure(spec, log, live[["id", "label"]], held_out, pd.Timestamp("2013-12-31", tz="UTC"))
    champion = {
        name: value - 0.011 for name, value in facts.metrics.items() if name in ("average_precision", "roc_auc")
    }
    challenger = {name: facts.metrics[name] for name in champion}
    tables = []
    for name, quarantined, later in (("flights", 37, 14_120), ("weather", 0, 1_003), ("planes", 4, 0)):
        table = held_out.drop(columns=["label", "score"]).iloc[:, : {"flights": 12, "weather": 8, "planes": 5}[name]]
        table = table.assign(
            carrier=held_out["carrier"], observed_at=held_out["prediction_time"], wind_gust=held_out["wind_gust"]
        )
        rows = len(table)
        tables.append(
            {
                "table": name,
                "rows_in": rows + quarantined + later,
                "rows_out": rows,
                "quarantined": quarantined,
                "later": later,
                "fingerprint": f"{abs(hash(name)):016x}",
                "columns": profile_table(table)["columns"],
            }
        )
    return ReportContent(
        title="Will the flight be late?",
        model="flight_delay",
        description=spec.description,
        version=3,
        run_id="5f1d0a9c7b3e4f2a8d6c1b0e9f7a5c3d",
        as_of="2013-12-17T00:00:00+00:00",
        steps=[
            {"name": "ingest", "seconds": 14.2, "note": "6 tables, 41 rows quarantined"},
            {"name": "materialize", "seconds": 8.4, "note": "61,204 rows to the online store"},
            {"name": "train", "seconds": 96.1, "note": "8 trials, refit on train and validation"},
            {"name": "register", "seconds": 1.3, "note": "version 3"},
            {"name": "deploy", "seconds": 11.9, "note": "1 replica, answering"},
            {"name": "score", "seconds": 6.2, "note": "4,200 predictions"},
            {"name": "monitor", "seconds": 9.7, "note": "outcomes for 4,200 predictions"},
        ],
        ingest=tables,
        evaluation=facts,
        trials=trials(),
        sampling=sampling(),
        dataset=Dataset(
            fingerprint="b3c1f0a5d2",
            rows=291_313,
            as_of="2013-12-17T00:00:00+00:00",
            feature_service="flight_risk",
            tables={"flights": "9a1e77c0", "weather": "77d0e1b2", "planes": "01cfa913"},
            git={"commit": "994be8e", "dirty": True},
        ),
        decision=promotion(
            challenger, champion, Gate(margin=0.002, minimum={"roc_auc": 0.6}), measured_beside()
        ).to_dict(),
        monitoring={
            "measurements": measured,
            "decision": monitoring_verdict(measured, spec.monitoring).to_dict(),
            "html": "monitoring/flight_delay/2013-12-31T0000.html",
            "performance_html": "monitoring/flight_delay/2013-12-31T0000-performance.html",
        },
        endpoint={
            "url": "http://127.0.0.1:8000/flight_delay",
            "curl": 'curl -s http://127.0.0.1:8000/flight_delay/predict -H \'content-type: application/json\' \\\n  -d \'{"rows": [{"carrier": "UA", "origin": "EWR", "dest": "ORD", "tailnum": "N14228"}]}\'',
        },
        links={
            "Prefect": "http://127.0.0.1:4200",
            "MLflow": "http://127.0.0.1:5000",
            "Evidently": "http://127.0.0.1:8085",
            "Ray dashboard": "http://127.0.0.1:8265",
            "Endpoint docs": "http://127.0.0.1:8000/flight_delay/docs",
        },
        versions={
            "headrace": "0.1.0",
            "xgboost": "3.2.0",
            "scikit-learn": "1.9.1",
            "feast": "0.67.0",
            "mlflow": "3.17.2",
        },
    )
