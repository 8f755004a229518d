"""The search beside plain sequential fits, Optuna with joblib, Ray Tune as its guide shows it, and an earlier version.

    python -m benchmarks.tuning [--rows 300000] [--trials 8 24 64] [--seeds 5 6 7] [--before CHECKOUT] [--home HOME]

All contenders fit the same points, which are drawn from the seed, on the same rows: seeded synthetic ones, or with
``--home`` the training frame of ``flight_delay`` of that environment's home (its stack need not be up). ``--before`` is
a checkout of the commit to compare with, f495675 or later; it runs its own code with this interpreter. Each contender
runs in a process of its own, once per number of trials and seed. Everything from the call of the search on is counted,
the start of its workers included, but not ``ray.init``. It prints a Markdown table of means over the seeds for each
number of trials, and what an empty trial costs. One draw of points is luck, so take many; ``--only`` names contenders.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.tuning.contenders import Timeline, headrace, optuna_joblib, ray_tune, sequential
from benchmarks.tuning.problem import flights, points, spec_of, synthetic

Contender = Callable[[dict[str, np.ndarray], Any, list[dict[str, Any]]], Timeline]

BEFORE = "Headrace before"
CONTENDERS: dict[str, Contender] = {
    "plain sequential fits": sequential,
    "Optuna with joblib": optuna_joblib,
    "Ray Tune as its guide shows it": ray_tune,
    "Headrace": lambda data, spec, _: headrace(data, spec),
}
EMPTY = {"family": "custom", "estimator": "benchmarks.tuning.contenders:Empty"}


def contender(name: str, path: str, trials: int, iterations: int, seed: int) -> None:
    """Run one contender, here, and print its timeline as JSON."""
    with np.load(path) as kept:
        data = dict(kept)
    spec = spec_of(trials, iterations, seed, [EMPTY] if iterations == 1 else None)
    drawn = points(spec, trials)
    import xgboost  # noqa: F401

    print(json.dumps(CONTENDERS[name](data, spec, drawn).seen), flush=True)


def measured(arguments: list[str], before: str | None) -> dict[str, Any]:
    """Run a contender in a process of its own, with the CPU seconds and peak memory of all its processes."""
    environment = os.environ | ({"PYTHONPATH": before} if before else {})
    command = [sys.executable, "-m", "benchmarks.tuning", *arguments]
    process = subprocess.Popen(command, cwd=before, env=environment, stdout=subprocess.PIPE, text=True)
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


def run(name: str, path: str, trials: int, iterations: int, seed: int, before: str | None) -> dict[str, Any]:
    """Measure a contender; an earlier version is asked by the name that it had there."""
    same = ["--trials", str(trials), "--iterations", str(iterations), "--seeds", str(seed)]
    known = "Headrace, 2 Ray CPUs" if name == BEFORE else name
    return measured(["--contender", known, path, *same], before if name == BEFORE else None)


def reached(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """What each contender took to the lowest of their best values, and for all trials."""
    best = {name: max(metric for _, metric in each["seen"]) for name, each in runs.items()}
    found = {}
    for name, each in runs.items():
        reports = [(at, metric) for at, metric in each["seen"] if metric >= 0]
        found[name] = {"first": reports[0][0], "whole": each["seen"][-1][0], "best": best[name]}
        found[name]["to"] = next(at for at, metric in reports if metric >= min(best.values()))
        found[name] |= {"cpu": each["cpu"], "peak": each["peak"]}
    return found


def table(seeds: list[dict[str, dict[str, float]]]) -> None:
    """Print the means over the seeds."""
    columns = ["first report, s", "same PR AUC, s", "all trials, s", "of Optuna", "CPU s", "peak GB", "best PR AUC"]
    print(f"| contender | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    means = {
        name: {key: float(np.mean([each[name][key] for each in seeds])) for key in seeds[0][name]} for name in seeds[0]
    }
    other = means.get("Optuna with joblib", next(iter(means.values())))["whole"]
    for name, mean in means.items():
        times = f"{mean['first']:.1f} | {mean['to']:.1f} | {mean['whole']:.1f} | {mean['whole'] / other:.2f}"
        print(f"| {name} | {times} | {mean['cpu']:.0f} | {mean['peak']:.1f} | {mean['best']:.4f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--trials", type=int, nargs="+", default=[8])
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7])
    parser.add_argument("--before", help="a checkout of an earlier commit")
    parser.add_argument("--only", nargs="+", help="these contenders", choices=[*CONTENDERS, BEFORE])
    parser.add_argument("--home")
    parser.add_argument("--empty", type=int, default=60, help="trials by which an empty one is measured; 0 for none")
    parser.add_argument("--contender", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contender:
        contender(*given.contender, given.trials[0], given.iterations, *given.seeds)
        return
    before = str(Path(given.before).resolve()) if given.before else None
    names = [*CONTENDERS, *([BEFORE] if before else [])]
    names = [name for name in names if name in (given.only or names)]
    with tempfile.TemporaryDirectory() as folder:
        data = flights(given.home) if given.home else synthetic(given.rows)
        path = str(Path(folder) / "rows.npz")
        np.savez(path, **data)
        for trials in given.trials:
            shape = f"{len(data['x']):,} rows of {data['x'].shape[1]} features"
            print(f"\n{shape}, {trials} trials, {given.iterations} rounds, {len(given.seeds)} seeds\n", flush=True)
            seeds = []
            for seed in given.seeds:
                runs = {name: run(name, path, trials, given.iterations, seed, before) for name in names}
                seeds.append(reached(runs))
                times = {name: round(each["whole"], 1) for name, each in seeds[-1].items()}
                print(f"seed {seed}: {times}", file=sys.stderr, flush=True)
            table(seeds)
        if given.empty:
            np.savez(path, **synthetic(1000))
            seen = run("Headrace", path, given.empty, 1, 5, None)["seen"]
            reports = [at for at, metric in seen if metric >= 0]
            print(f"\nOverhead of an empty trial: {1000 * (reports[-1] - reports[9]) / (len(reports) - 10):.0f} ms")


if __name__ == "__main__":
    main()
