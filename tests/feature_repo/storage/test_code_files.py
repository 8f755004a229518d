"""The files that a module needs: found by its imports, the same each time, and an error where a module is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_repo.storage import code_files
from feature_repo.storage.code_files import code_fingerprint, imported_files, imported_modules

PROJECT = {
    "__init__": "",
    "start": "import project.plain\nfrom project.passing import thing\nfrom project import sibling\nimport os\n",
    "plain": "def later():\n    from project.lazy import value\n",
    "lazy": "try:\n    import project.tried\nexcept ImportError:\n    pass\n",
    "tried": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from project import hint\n",
    "hint": "",
    "sibling": "from . import plain\nfrom .inner import deep\n",
    "inner/__init__": "",
    "inner/deep": "from ..plain import later\nfrom .. import stopped\n",
    "stopped": "import project.behind\n",
    "behind": "",
    "passing/__init__": "from project.passing.used import thing\nfrom project.passing.unused import other\n",
    "passing/used": "",
    "passing/unused": "",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in PROJECT.items():
        path = tmp_path / "project" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code_files, "PACKAGES", ("project",))
    caches = (imported_files, code_files._find, code_files._imports_of)
    for each in caches:
        each.cache_clear()
    yield tmp_path / "project"
    for each in caches:
        each.cache_clear()


def test_imports_are_followed_wherever_they_are_but_not_those_for_types(project: Path) -> None:
    names = ("inner/deep", "lazy", "passing/used", "plain", "sibling", "start", "tried")
    assert imported_files(("project.start",), ("project.stopped",)) == tuple(f"project/{name}.py" for name in names)
    assert set(imported_files(("project.start",))) - {f"project/{name}.py" for name in names} == {
        "project/behind.py",
        "project/stopped.py",
    }
    assert not any(name.startswith("project") for name in sys.modules)  # nothing was run


def test_a_text_and_its_imports_have_a_fingerprint(project: Path) -> None:
    text = "def f(rows):\n    from project.passing import thing\n    import numpy\n"
    assert imported_modules(text) == ("project.passing.used",)
    files = imported_files(imported_modules(text))
    before = code_fingerprint(files, text)
    assert code_fingerprint(files, text) == before != code_fingerprint(files, text + "\n")
    (project / "passing" / "used.py").write_text("thing = 2\n")
    assert code_fingerprint(files, text) != before


def test_a_missing_root_is_an_error(project: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"Module project\.gone has no source file in project\."):
        imported_files(("project.start", "project.gone"))
