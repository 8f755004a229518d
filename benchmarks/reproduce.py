"""Make every registered version of a home again: ``python -m benchmarks.reproduce [--json]``, with its stack up.

The home is the one of HEADRACE_ENV and HEADRACE_HOME. A line per version: whether frame, model, threshold and
held-out scores came out the same, bit for bit; the seconds it took beside those of the training; the cause where not.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from configs import load_settings, model_names
from ray_cluster import registry
from ray_cluster.lineage.changes import Change
from ray_cluster.training.reproduce import ReproduceError, Reproduction, reproduce


def main() -> int:
    """Print the table; 1 if a version is not the same."""
    settings = load_settings()
    os.environ.update(settings.variables())
    found = [
        _row(settings, model, str(version.version), version.run_id)
        for model in model_names()
        for version in reversed(registry.versions(settings, model))
    ]
    if "--json" in sys.argv:
        print(json.dumps(found, indent=1))
    else:
        print("| model | version | frame | model bytes | threshold | scores | seconds (training) | cause |")
        print("|---|---|---|---|---|---|---|---|")
        for row in found:
            marks = [row[name] for name in ("training frame", "model", "threshold", "held-out scores")]
            told = " | ".join(["same" if mark else "differs" if mark is False else "-" for mark in marks])
            seconds = "-" if row["seconds"] is None else f"{row['seconds']:.0f} ({row['training']:.0f})"
            print(f"| {row['model_name']} | {row['version']} | {told} | {seconds} | {row['cause']} |")
    same = sum(row["identical"] for row in found)
    print(f"\n{same} of {len(found)} versions are the same, bit for bit.", file=sys.stderr)
    return 0 if same == len(found) else 1


def _row(settings: Any, model: str, version: str, run_id: str) -> dict[str, Any]:
    row: dict[str, Any] = {"model_name": model, "version": version, "seconds": None, "training": None}
    row |= dict.fromkeys(("training frame", "model", "threshold", "held-out scores"))
    try:
        found: Reproduction = reproduce(settings, model, version)
    except (ReproduceError, registry.RegistryError) as error:
        return {**row, "identical": False, "cause": str(error)}
    provenance = registry.evidence(settings, run_id).provenance
    changes: list[Change] = found.changes
    return {
        **row,
        **{check.what: check.same for check in found.checks if check.what in row},
        "identical": found.identical,
        "seconds": found.seconds,
        "training": provenance["seconds"],
        "cause": "; ".join(found.causes),
        "changes": len(changes),
    }


if __name__ == "__main__":
    sys.exit(main())
