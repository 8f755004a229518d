"""The search beside plain sequential fits, Optuna with joblib, and Ray Tune as shipped: same points, rows and budget.

    python -m benchmarks.tuning [--rows 300000] [--trials 8] [--seeds 5 6 7] [--first 5] [--home HOME]

With ``--home`` the rows are the training frame of ``flight_delay`` of that environment's home (its stack need not be
up), else seeded synthetic ones. Each contender runs in a process of its own, once per seed of the points; Ray's own
start-up is not counted. It prints a Markdown table of means over the seeds, and what an empty trial costs. One draw of
points is luck, so take many; ``--first 3`` leaves out the slow contenders.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.tuning.contenders import CPUS, headrace, optuna_joblib, ray_tune, sequential
from benchmarks.tuning.problem import flights, points, spec_of, synthetic

CONTENDERS = (
    "plain sequential fits",
    "Optuna with joblib",
    "Headrace, 2 Ray CPUs",
    "Headrace, 1 Ray CPU",
    "Ray Tune as shipped",
)


def overhead(trials: int) -> float:
    """Milliseconds per empty trial of Headrace, from trial 10 on."""
    family = {"family": "custom", "estimator": "benchmarks.tuning.contenders:Empty"}
    line = headrace(synthetic(1000), spec_of(trials, 1, 5, [family]), CPUS)
    reports = [at for at, metric in line.seen if metric >= 0]
    return 1000 * (reports[-1] - reports[9]) / (len(reports) - 10)


def contender(name: str, path: str, trials: int, iterations: int, seed: int) -> None:
    """Run one contender, here, and print its timeline as JSON."""
    with np.load(path) as kept:
        data = dict(kept)
    spec = spec_of(trials, iterations, seed)
    drawn = points(spec, trials)
    import xgboost  # noqa: F401

    run = {
        "plain sequential fits": lambda: sequential(data, spec, drawn),
        "Optuna with joblib": lambda: optuna_joblib(data, spec, drawn),
        "Headrace, 2 Ray CPUs": lambda: headrace(data, spec, CPUS),
        "Headrace, 1 Ray CPU": lambda: headrace(data, spec, 1),
        "Ray Tune as shipped": lambda: ray_tune(data, spec, drawn),
    }[name]
    print(json.dumps(run().seen), flush=True)


def measured(arguments: list[str]) -> dict[str, Any]:
    """Run a contender in a process of its own, with the CPU seconds and peak memory of all its processes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.tuning", *arguments], stdout=subprocess.PIPE, text=True
    )
    cpu: dict[int, float] = {}
    peak, root = 0.0, psutil.Process(process.pid)

    def sample() -> None:
        nonlocal peak
        while process.poll() is None:
            memory = 0.0
            for each in [root, *root.children(recursive=True)]:
                try:
                    times = each.cpu_times()
                    cpu[each.pid] = times.user + times.system
                    memory += each.memory_full_info().pss
                except psutil.Error:
                    continue
            peak = max(peak, memory)
            time.sleep(0.3)

    watching = threading.Thread(target=sample, daemon=True)
    watching.start()
    out = process.communicate()[0].strip().splitlines()
    if process.returncode:
        sys.exit(f"{arguments[1]} ended with {process.returncode}; see above.")
    return {"seen": json.loads(out[-1]), "cpu": sum(cpu.values()), "peak": peak / 1e9}


def reached(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """What each contender took to the lowest of their best values, from the start of its workers on."""
    best = {name: max(metric for _, metric in each["seen"]) for name, each in runs.items()}
    found = {}
    for name, each in runs.items():
        began = each["seen"][0][0] if each["seen"][0][1] < 0 else 0.0
        there = next(at for at, metric in each["seen"] if metric >= min(best.values()))
        whole = each["seen"][-1][0] - began
        found[name] = {"start": began, "to": there - began, "whole": whole, "best": best[name]}
        found[name] |= {"cpu": each["cpu"], "peak": each["peak"]}
    return found


def table(seeds: list[dict[str, dict[str, float]]]) -> None:
    """Print the means over the seeds."""
    columns = ["contender", "workers start, s", "then to the same PR AUC, s", "of the faster", "all trials, s", "CPU s"]
    print(f"| {' | '.join([*columns, 'peak GB', 'best PR AUC'])} |\n|{'---|' * (len(columns) + 2)}")
    means = {
        name: {key: float(np.mean([each[name][key] for each in seeds])) for key in seeds[0][name]} for name in seeds[0]
    }
    faster = min(means[name]["to"] for name in CONTENDERS[:2])
    for name, mean in means.items():
        times = f"{mean['start']:.1f} | {mean['to']:.1f} | {mean['to'] / faster:.2f} | {mean['whole']:.1f}"
        print(f"| {name} | {times} | {mean['cpu']:.0f} | {mean['peak']:.1f} | {mean['best']:.4f} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7])
    parser.add_argument("--first", type=int, default=len(CONTENDERS), help="so many of the contenders")
    parser.add_argument("--home")
    parser.add_argument("--contender", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--empty", type=int, default=60)
    given = parser.parse_args()
    if given.contender:
        contender(*given.contender, given.trials, given.iterations, *given.seeds)
        return
    data = flights(given.home) if given.home else synthetic(given.rows)
    shape = f"{len(data['x']):,} rows of {data['x'].shape[1]} features"
    print(f"{shape}, {given.trials} trials, {given.iterations} rounds, {len(given.seeds)} seeds\n")
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "rows.npz")
        np.savez(path, **data)
        for seed in given.seeds:
            same = ["--trials", str(given.trials), "--iterations", str(given.iterations), "--seeds", str(seed)]
            runs = {name: measured(["--contender", name, path, *same]) for name in CONTENDERS[: given.first]}
            seeds.append(reached(runs))
            times = {name: round(each["to"], 1) for name, each in seeds[-1].items()}
            print(f"seed {seed}: {times}", file=sys.stderr, flush=True)
    table(seeds)
    print(f"\nOverhead of an empty trial: {overhead(given.empty):.0f} ms")


if __name__ == "__main__":
    main()
