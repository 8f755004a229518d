"""Run one contender in a process of its own, within a limit of time and memory, and measure it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import psutil

__all__ = ["Outcome", "child", "run"]

_INTERVAL = 0.02  # seconds between two looks at the memory


@dataclass(frozen=True)
class Outcome:
    """``seconds`` of each repetition; ``cpu``: seconds of processor, children's too.

    ``peak``: bytes at most; ``before``: bytes just before the first repetition. ``said``: why there is no result.
    ``result``: fingerprint of the features, in the order of the rows.
    """

    seconds: list[float]
    cpu: list[float] = field(default_factory=list)
    peak: int = 0
    before: int = 0
    rows: int = 0
    result: str = ""
    said: str = ""


def run(
    contender: str, workload: str, repeats: int, limit: float, memory: float, python: str = sys.executable
) -> Outcome:
    """In a process that is killed after ``limit`` seconds of its repetitions or with more than ``memory`` bytes."""
    command = [python, "-m", "benchmarks.point_in_time", "--child", contender, workload, str(repeats)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    errors: list[str] = []
    readers = [
        threading.Thread(target=lambda: lines.extend(process.stdout or ())),
        threading.Thread(target=lambda: errors.extend(process.stderr or ())),
    ]
    for reader in readers:
        reader.start()
    peak, said, started = 0, "", None
    while process.poll() is None:
        time.sleep(_INTERVAL)
        peak_now = _resident(process.pid)
        if started is None and any(line.startswith("ready") for line in lines):
            started, peak = time.monotonic(), 0
        peak = max(peak, peak_now)
        if peak > memory:
            said = f"killed at {peak / 1e9:.0f} GB"
        elif started is not None and time.monotonic() - started > limit:
            said = f"killed at {limit:.0f} s"
        if said:
            for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                each.kill()
            break
    process.wait()
    for reader in readers:
        reader.join()
    found = next((json.loads(line) for line in lines if line.startswith("{")), None)
    if found is None:
        last = errors[-1].strip()[:120] if errors else "no output"
        return Outcome([], peak=peak, said=said or f"failed: {last}")
    return Outcome(peak=peak, **found)


def child(contender: str, path: str, repeats: int) -> None:
    """What the process does: print ``ready``, then the measurements as JSON."""
    from benchmarks.point_in_time.contenders import CONTENDERS
    from benchmarks.point_in_time.workloads import load

    workload = load(path)
    join = CONTENDERS[contender](workload)
    before = _resident(psutil.Process().pid)
    print("ready", flush=True)
    seconds: list[float] = []
    cpu: list[float] = []
    table: Any = None
    for _ in range(repeats):
        table = None
        started, used = time.perf_counter(), _cpu()
        table = join()
        seconds.append(time.perf_counter() - started)
        cpu.append(_cpu() - used)
    features = sorted(name for view in workload.views for name in view.features)
    result = _fingerprint(table, features)
    found = {"seconds": seconds, "cpu": cpu, "before": before, "rows": table.num_rows, "result": result}
    print(json.dumps(found), flush=True)


def _resident(pid: int) -> int:
    """Resident bytes of a process and its children."""
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _cpu() -> float:
    """Processor seconds of this process and those below it, a Ray cluster's workers too."""
    total = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def _fingerprint(table: Any, features: list[str]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name in features:
        for value in (table[name].combine_chunks(),):
            digest.update(value.is_null().to_numpy(zero_copy_only=False).tobytes())
            digest.update(repr(value.drop_null().to_pylist()[::97]).encode())
    return digest.hexdigest()
