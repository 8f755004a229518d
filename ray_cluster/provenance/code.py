"""Which code made a model: commit, what the working tree has beside it, and a digest of every file that counts."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CodeState", "code_files", "code_fingerprint", "git_state", "is_commit"]

#: Folders whose Python files decide what is trained.
FOLDERS = ("configs", "feature_repo", "ray_cluster")
#: A larger diff is cut here, in bytes.
PATCH_BYTES = 1_000_000


@dataclass(frozen=True)
class CodeState:
    """The working tree of a repository.

    Attributes:
        facts: ``commit``, ``branch``, ``dirty`` (a tracked file differs), ``changed`` and ``untracked`` (files),
            ``patch_bytes`` and ``patch_complete``. Without a repository, ``commit`` says so and the rest is empty.
        patch: the diff to the commit, at most :data:`PATCH_BYTES` long.
    """

    facts: dict[str, Any]
    patch: str


def git_state(root: Path) -> CodeState:
    """Commit of the repository at ``root``, and how the working tree differs from it."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        nothing: dict[str, Any] = {"branch": None, "dirty": False, "changed": [], "untracked": []}
        return CodeState({"commit": "none: not a git repository", **nothing}, "")
    diff = _git(root, "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff", "--no-textconv") or ""
    changed = (_git(root, "diff", "HEAD", "--name-only") or "").split("\n")
    untracked = (_git(root, "ls-files", "--others", "--exclude-standard") or "").split("\n")
    patch = diff.encode()[:PATCH_BYTES].decode(errors="ignore")
    facts = {
        "commit": commit.strip(),
        "branch": (_git(root, "rev-parse", "--abbrev-ref", "HEAD") or "").strip() or None,
        "dirty": bool(diff.strip()),
        "changed": [name for name in changed if name],
        "untracked": [name for name in untracked if name][:200],
        "patch_bytes": len(diff.encode()),
        "patch_complete": len(patch) == len(diff),
    }
    return CodeState(facts, patch)


def is_commit(root: Path, commit: str) -> bool:
    """Whether the repository at ``root`` still has a commit."""
    return _git(root, "cat-file", "-e", f"{commit}^{{commit}}") is not None


def code_fingerprint(*folders: Path) -> str:
    """Fingerprint of the Python files below some folders."""
    digest = hashlib.blake2b(digest_size=8)
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def code_files(root: Path) -> dict[str, str]:
    """Path below ``root`` -> digest, of every Python file that decides what is trained."""
    return {
        path.relative_to(root).as_posix(): hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest()
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("*.py"))
    }


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None when it fails or is not there."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
