"""Where code and libraries came from, for the record on every run."""

from __future__ import annotations

import hashlib
import subprocess
from importlib.metadata import version
from pathlib import Path

__all__ = ["code_fingerprint", "git_state", "library_versions"]


def git_state(root: Path) -> dict[str, str | bool]:
    """Commit of the repository at ``root`` and whether the working tree differs from it."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": git("rev-parse", "HEAD") or "none: not a git repository", "dirty": bool(status)}


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide what a model is."""
    return {name: version(name) for name in ("xgboost", "scikit-learn", "numpy", "pandas", "ray", "mlflow", "feast")}


def code_fingerprint(*folders: Path) -> str:
    """Fingerprint of the Python files below some folders."""
    digest = hashlib.blake2b(digest_size=8)
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
