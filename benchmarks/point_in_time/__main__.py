"""Point-in-time joins, all contenders in one run: ``python -m benchmarks.point_in_time [--small]``.

1. Every flight request with all computed views (``headrace run ingest`` and ``materialize`` before); 2. simulated card
requests and one view. Headrace through Feast's API, on Ray, the same join written by hand, and Feast's own stores.
Contenders take turns, each in a process of its own; a figure is the best of the repetitions, imports and the opening
of stores apart. 3. Headrace's memory as the history of a view grows.

Feast's own stores are slower than the square of the rows allows to wait for: they get ``--stock-rows`` requests, and
Headrace beside them gets the same. Their results follow another rule (late rows are seen too early), so that only
rows and time are compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.point_in_time.supervised import Outcome, child, run
from benchmarks.point_in_time.workloads import Workload, cards, flights

OURS = ["Headrace", "Headrace on Ray", "polars join_asof by hand", "DuckDB ASOF JOIN by hand"]
STOCK = ["Headrace", "Feast, duckdb store", "Feast, dask store (its default)"]


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a tenth of the rows, for a quick look")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender, two repetitions in each")
    parser.add_argument("--stock-rows", type=int, default=20_000, help="requests for Feast's own stores")
    parser.add_argument("--limit", type=float, default=300, help="seconds after which a contender is killed")
    parser.add_argument("--memory", type=float, default=10, help="GB with which a contender is killed")
    parser.add_argument("--parts", default="flights,cards,memory", help="which of the three")
    parser.add_argument(
        "--stock-python",
        default=sys.executable,
        help="an interpreter with feast[duckdb], polars and psutil",
    )
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], given.child[1], int(given.child[2]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = 500_000 if given.small else 5_000_000
        if "flights" in given.parts:
            _compare(flights(folder, 30_000 if given.small else None), given, folder)
        if "cards" in given.parts:
            _compare(cards(folder, size, size), given, folder)
        if "memory" in given.parts:
            _memory(folder, size // 10, size // 5, given)


def _compare(workload: Workload, given: argparse.Namespace, folder: Path) -> None:
    import polars as pl

    rows = pl.scan_parquet(workload.requests).select(pl.len()).collect().item()
    history = sum(pl.scan_parquet(view.single).select(pl.len()).collect().item() for view in workload.views)
    views = f"{len(workload.views)} views" if len(workload.views) > 1 else "1 view"
    print(f"\n**{workload.name}**: {rows:,} requests, {views} with {history:,} rows\n")
    outcomes = _turns(OURS, workload, folder, given.rounds, given)
    best = min(min(outcomes[name].seconds, default=float("inf")) for name in OURS if "hand" in name)
    print("| contender | s | of the best by hand | CPU s | peak GB | result |\n|---|---|---|---|---|---|")
    for name, outcome in outcomes.items():
        same = "the same" if outcome.result == outcomes["Headrace"].result else "**another**"
        print(_row(name, outcome, best, same))
    small = workload.smaller(given.stock_rows, folder)
    outcomes = _turns(STOCK, small, folder, 1, given)
    ours = min(outcomes["Headrace"].seconds, default=float("nan"))
    print(f"\n{given.stock_rows:,} of these requests:\n")
    print("| contender | s | of Headrace | CPU s | peak GB | rows returned |\n|---|---|---|---|---|---|")
    for name, outcome in outcomes.items():
        print(_row(name, outcome, ours, f"{outcome.rows:,}"))
    sys.stdout.flush()


def _turns(
    contenders: list[str], workload: Workload, folder: Path, rounds: int, given: argparse.Namespace
) -> dict[str, Outcome]:
    """The best of each contender; they take turns, so that a busy moment meets all of them."""
    path = str(workload.save(folder))
    found: dict[str, Outcome] = {}
    for _ in range(rounds):
        for name in contenders:
            if found.get(name, Outcome([0.0])).said:
                continue
            python = given.stock_python if name.startswith("Feast") else sys.executable
            outcome = run(name, path, 2, given.limit, given.memory * 1e9, python)
            before = found.get(name)
            if before is None or outcome.said or min(outcome.seconds) < min(before.seconds):
                found[name] = outcome
    return found


def _row(name: str, outcome: Outcome, reference: float, last: str) -> str:
    if outcome.said:
        return f"| {name} | {outcome.said} | | | {outcome.peak / 1e9:.1f} | |"
    seconds, memory = min(outcome.seconds), f"{outcome.peak / 1e9:.1f}"
    return f"| {name} | {seconds:.2f} | {seconds / reference:.2f} | {min(outcome.cpu):.2f} | {memory} | {last} |"


def _memory(folder: Path, requests: int, rows: int, given: argparse.Namespace) -> None:
    """Requests of 30 days against a history of 1, 4 and 16 times the length."""
    print(
        f"\n**Memory**: {requests:,} requests of the last 30 days; 60 days of history with {rows:,} rows, then more\n"
    )
    print("| history | view | contender | s | peak GB | of that before the join |\n|---|---|---|---|---|---|")
    for times in (1, 4, 16):
        for ttl in (30, 0):
            workload = cards(folder, requests, rows * times, 60 * times, asked_days=30, ttl_days=ttl)
            path = str(workload.save(folder))
            for name in ("Headrace", "Headrace, memory_limit 250MB"):
                outcome = run(name, path, 1, given.limit, given.memory * 1e9, sys.executable)
                kind = "expires after 30 days" if ttl else "never expires"
                seconds = outcome.said or f"{min(outcome.seconds):.2f}"
                memory = f"{outcome.peak / 1e9:.2f} | {outcome.before / 1e9:.2f}"
                print(f"| {times} | {kind} | {name} | {seconds} | {memory} |", flush=True)


if __name__ == "__main__":
    main()
