"""Simulated card payments from their simulation to a training frame: seconds and peak memory at several sizes.

``python -m benchmarks.card_scale [--rows 200000 1000000 5000000]``; no servers. Each step of each size is a process of
its own, whose peak resident memory is taken at its end; the base is what the same process needs for its imports.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

STEPS = ("imports", "ingest", "compute", "training frame")


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 1_000_000, 5_000_000])
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(_measured(arguments.step, arguments.home, arguments.rows[0])))
        return
    print("| transactions | step | rows | seconds | peak, MB |\n|---|---|---|---|---|", flush=True)
    for rows in arguments.rows:
        with TemporaryDirectory() as home:
            for step in STEPS:
                command = [sys.executable, "-m", "benchmarks.card_scale", "--step", step, "--home", home]
                done = subprocess.run([*command, "--rows", str(rows)], check=True, capture_output=True, text=True)
                found = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"| {rows:,} | {step} | {found['rows']:,} | {found['seconds']:.1f} | {found['peak']:,.0f} |",
                    flush=True,
                )


def _measured(step: str, home: Path, rows: int) -> dict[str, Any]:
    """One step in this process: rows that came out of it, seconds without the imports, peak memory in MB."""
    from datetime import UTC, datetime

    from configs import load_model, load_settings
    from configs.table import ingest_order
    from feature_repo.definitions.dependencies import model_tables, service_views
    from feature_repo.definitions.feature_store import apply
    from feature_repo.frames.training_frame import training_frame
    from feature_repo.materialization.backfill import compute
    from feature_repo.tables import ingest_table

    loaded, spec = load_settings("local", {"HEADRACE_HOME": str(home)}), load_model("card_fraud", "local")
    tables = {
        name: loaded.tables[name].model_copy(
            update={"source": loaded.tables[name].source.model_copy(update={"options": {"rows": rows, "seed": 7}})}
        )
        for name in model_tables(loaded, spec, references=True)
    }
    settings, as_of = loaded.model_copy(update={"tables": tables}), datetime(2014, 1, 1, tzinfo=UTC)
    apply(settings)
    started, made = perf_counter(), 0
    if step == "ingest":
        made = sum(ingest_table(settings, name, as_of)[0].rows_out for name in ingest_order(tables))
    elif step == "compute":
        made = sum(compute(settings, view)[0].rows for view in service_views(settings, spec.feature_service))
    elif step == "training frame":
        made = len(training_frame(settings, spec, as_of).rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": made, "seconds": perf_counter() - started, "peak": peak}


if __name__ == "__main__":
    main()
