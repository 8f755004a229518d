"""The environment of a training: code, libraries, machine, and settings without secrets."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from configs.settings import Settings
from feature_repo.storage.code_files import imported_files

__all__ = [
    "CodeState",
    "FIT_CODE",
    "code_files",
    "fit_files",
    "git_state",
    "is_commit",
    "library_versions",
    "machine",
    "masked_settings",
    "without_secrets",
]

#: Folders of the Python files that affect a training.
FOLDERS = ("configs", "feature_repo", "ray_cluster")
#: Maximum size of the diff in bytes; a larger one is truncated.
PATCH_BYTES = 1_000_000


@dataclass(frozen=True)
class CodeState:
    """The working tree of a repository.

    Attributes:
        facts: ``commit``, ``branch``, ``dirty`` (a tracked file differs), ``changed`` and ``untracked`` (files),
            ``patch_bytes`` and ``patch_complete``. If there is no repository, ``commit`` says so and the rest is empty.
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


#: What :func:`fit_files` starts from, and what it leaves out.
FIT_CODE = (
    (
        "ray_cluster.decisions.sampler_rules",
        "ray_cluster.evaluation.column_profile",  # of the held-out rows, recorded with the run
        "ray_cluster.training.train",
    ),
    (
        "configs*",
        "feature_repo*",
        "ray_cluster.cluster*",
        "ray_cluster.decisions.decision",
        "ray_cluster.lineage*",
        "ray_cluster.parity*",
        "ray_cluster.registry*",
    ),
)


def fit_files() -> tuple[str, ...]:
    """Files whose change can alter what is fitted on a frame (:func:`feature_repo.storage.code_files.imported_files`).

    Left out: settings, as the values that count are part of a key themselves; what makes the frame
    (:func:`feature_repo.frames.fingerprints.frame_files`); where a training runs, how it is recorded, and whether it
    may begin.
    """
    return imported_files(*FIT_CODE)


def code_files(root: Path) -> dict[str, str]:
    """Path below ``root`` -> digest, of every Python file that affects a training."""
    return {
        path.relative_to(root).as_posix(): hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest()
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("*.py"))
    }


def _git(root: Path, *arguments: str) -> str | None:
    """Output of git; None if it fails or is not installed."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


#: Libraries that affect a fitted model; those that are not installed are left out.
LIBRARIES = (
    "xgboost",
    "scikit-learn",
    "imbalanced-learn",
    "numpy",
    "scipy",
    "pandas",
    "polars",
    "duckdb",
    "pyarrow",
    "optuna",
    "ray",
    "mlflow",
    "skops",
    "feast",
)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that affect a fitted model."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Interpreter, operating system and processors, if they can change a floating-point result."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }


MASK = "**********"
_NAMES = re.compile(r"passw|secret|token|credential|api_?key", re.IGNORECASE)
_LOGIN = re.compile(r"(://)[^/@\s]+@")


def masked_settings(settings: Settings) -> dict[str, Any]:
    """The settings as JSON: secret values, passwords in addresses and environment variables of Ray masked."""
    document = settings.model_dump(mode="json")
    variables = document["ray"]["runtime_env"].get("env_vars")
    if isinstance(variables, dict):
        document["ray"]["runtime_env"]["env_vars"] = dict.fromkeys(variables, MASK)
    shown: dict[str, Any] = _masked(document)
    return shown


def without_secrets(settings: Settings, text: str) -> str:
    """The text with the settings' secret values and the logins in addresses masked."""
    for secret in _secrets(settings):
        text = text.replace(secret, MASK)
    return _LOGIN.sub(rf"\g<1>{MASK}@", text)


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _masked(each, str(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, name) for each in value]
    if isinstance(value, str):
        return MASK if _NAMES.search(name) else _LOGIN.sub(rf"\g<1>{MASK}@", value)
    return value


def _secrets(settings: Settings) -> Iterator[str]:
    for value in vars(settings.databases).values():
        if isinstance(value, SecretStr) and value.get_secret_value():
            yield value.get_secret_value()
