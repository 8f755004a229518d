"""Coverage of 95 % intervals of average precision: ours, and the percentiles of a bootstrap that draws days.

    python -m benchmarks.intervals [--days 5 8 10 14 20 40 77] [--runs 600] [--rows 200]

Each run draws days whose log-odds move together, independently between days or with autocorrelation 0.5. The true value
is that of many days.
"""

from __future__ import annotations

import argparse

import numpy as np

from ray_cluster.evaluation.intervals import Ranked, intervals


def drawn(days: int, rows: int, correlation: float, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Labels, scores and days, shape (days * rows,)."""
    shift = np.empty(days)
    shift[0] = random.normal()
    for day in range(1, days):
        shift[day] = correlation * shift[day - 1] + np.sqrt(1 - correlation**2) * random.normal()
    odds = random.normal(size=(days, rows))
    y = random.random((days, rows)) < 1 / (1 + np.exp(1.8 - 1.2 * odds - 0.5 * shift[:, None]))
    return y.astype(int).ravel(), (1 / (1 + np.exp(-odds))).ravel(), np.repeat(np.arange(days), rows)


def bootstrap(y: np.ndarray, scores: np.ndarray, days: np.ndarray, random: np.random.Generator) -> tuple[float, float]:
    """Percentiles of 200 resamples of the days."""
    ranked = Ranked.of(y, scores, days)
    count = ranked.blocks
    weights = [np.bincount(random.integers(0, count, count), minlength=count).astype(float) for _ in range(200)]
    draws = [ranked.ranking(each)["average_precision"] for each in weights]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, nargs="+", default=[5, 8, 10, 14, 20, 40, 77])
    parser.add_argument("--runs", type=int, default=600)
    parser.add_argument("--rows", type=int, default=200)
    given = parser.parse_args()
    print("| days | autocorrelation | ours: coverage | median width | bootstrap: coverage | median width |")
    print("|---|---|---|---|---|---|")
    for count in given.days:
        for correlation in (0.0, 0.5):
            random = np.random.default_rng(count)
            true = Ranked.of(*drawn(3000, given.rows, correlation, random)[:2], None).ranking()["average_precision"]
            found: dict[str, list[tuple[bool, float]]] = {"ours": [], "bootstrap": []}
            for _ in range(given.runs):
                y, scores, days = drawn(count, given.rows, correlation, random)
                ends = {
                    "ours": intervals(y, scores, days, ranking_only=True).get("average_precision"),
                    "bootstrap": bootstrap(y, scores, days, random),
                }
                for name, pair in ends.items():
                    if pair:
                        found[name].append((pair[0] <= true <= pair[1], pair[1] - pair[0]))
            cells = [
                f"{np.mean([inside for inside, _ in each]):.2f} | {np.median([width for _, width in each]):.3f}"
                if each
                else "not enough days | "
                for each in found.values()
            ]
            print(f"| {count} | {correlation:g} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
