"""Join Prometheus texts of several nodes into one that a scraper accepts."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["merge_expositions"]


def merge_expositions(texts: Iterable[str]) -> str:
    """One exposition: every metric family once, with its HELP and TYPE from the first text that has it.

    The text format allows one HELP and one TYPE per family and wants its samples together
    (Prometheus exposition formats, text-based format 0.0.4).

    >>> print(merge_expositions(['# TYPE up gauge\\nup{node="a"} 1\\n', '# TYPE up gauge\\nup{node="b"} 1\\n']), end="")
    # TYPE up gauge
    up{node="a"} 1
    up{node="b"} 1
    """
    heads: dict[str, dict[str, str]] = {}
    samples: dict[str, list[str]] = {}
    for text in texts:
        family = ""
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                _, kind, family, *_ = line.split(" ", 3)
                heads.setdefault(family, {}).setdefault(kind, line)
                samples.setdefault(family, [])
            elif line and not line.startswith("#"):
                name = line.split("{", 1)[0].split(" ", 1)[0]
                samples.setdefault(family if family and name.startswith(family) else name, []).append(line)
    lines = [line for family, values in samples.items() for line in [*heads.get(family, {}).values(), *values]]
    return "\n".join(lines) + "\n" if lines else ""
