"""What is kept of the working tree: commit, branch, diff and untracked files; and no secret."""

from __future__ import annotations

import subprocess

from pydantic import SecretStr

from configs import load_settings
from ray_cluster.lineage import environment
from ray_cluster.lineage.environment import (
    code_files,
    git_state,
    is_commit,
    library_versions,
    masked_settings,
    without_secrets,
)


def git(folder, *arguments):
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        check=True,
        capture_output=True,
    )


def test_the_state_of_a_working_tree(tmp_path, monkeypatch):
    assert git_state(tmp_path).facts["commit"] == "none: not a git repository"
    git(tmp_path, "init", "-b", "trunk")
    (tmp_path / "configs").mkdir()
    file = tmp_path / "configs" / "a.py"
    file.write_text("x = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    clean = git_state(tmp_path)
    assert clean.facts["branch"] == "trunk" and not clean.facts["dirty"] and clean.patch == ""
    assert is_commit(tmp_path, clean.facts["commit"]) and not is_commit(tmp_path, "0" * 40)

    before = code_files(tmp_path)
    file.write_text("x = 2\n")
    (tmp_path / "new.py").write_text("y = 1\n")
    dirty = git_state(tmp_path)
    assert dirty.facts["dirty"] and dirty.facts["changed"] == ["configs/a.py"]
    assert dirty.facts["untracked"] == ["new.py"] and dirty.facts["patch_complete"]
    assert code_files(tmp_path) != before
    git(tmp_path, "checkout", "configs/a.py")
    subprocess.run(["git", "-C", str(tmp_path), "apply"], input=dirty.patch, text=True, check=True)
    assert file.read_text() == "x = 2\n"

    monkeypatch.setattr(environment, "PATCH_BYTES", 20)
    cut = git_state(tmp_path)
    assert len(cut.patch) == 20 and not cut.facts["patch_complete"] and cut.facts["patch_bytes"] > 20


def test_settings_are_kept_without_what_is_secret():
    loaded = load_settings("local", {})
    databases = loaded.databases.model_copy(update={"postgres_url": SecretStr("postgresql://u:hunter2@db:5432")})
    ray = loaded.ray.model_copy(update={"runtime_env": {"env_vars": {"KEY": "hunter3"}, "pip": ["http://u:p@x/y"]}})
    settings = loaded.model_copy(update={"databases": databases, "ray": ray})
    kept = str(masked_settings(settings))
    assert "hunter" not in kept and "u:p@" not in kept and "336776" not in kept
    assert "'environment': 'local'" in kept
    assert without_secrets(settings, "+url = postgresql://u:hunter2@db:5432 and redis://:pw@h") == (
        "+url = ********** and redis://**********@h"
    )


def test_the_versions_that_decide_a_model_are_named():
    assert {"xgboost", "scikit-learn", "numpy", "scipy", "pandas", "duckdb"} <= set(library_versions())
