"""Private names of other libraries are used in one module per library only, for the versions that were checked."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_docs import ROOT
from tests.docs.test_words import PACKAGES

#: Module with a library's private names -> the versions for which its test was last read and run.
MODULES = {
    "feature_repo/online/pandas_private.py": "pandas>=2.3.3,<3",
    "ray_cluster/cluster/ray_private.py": "ray[default,serve,data,tune]>=2.58,<2.59",
    "ray_cluster/training/sampling/imblearn_private.py": "imbalanced-learn>=0.14,<0.15",
}
#: Public in spite of their underscore, so that they cannot be fields.
NAMEDTUPLE = {"_asdict", "_field_defaults", "_fields", "_make", "_replace"}
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def private_names(tree: ast.AST) -> Iterator[str]:
    """Imports of private modules or names, and private attributes of objects other than ``self`` and ``cls``."""
    for node in ast.walk(tree):
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [f"{node.module}.{each.name}" for each in node.names]
        elif isinstance(node, ast.Attribute) and not (
            isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        ):
            found = [node.attr]
        for name in found:
            parts = [part for part in name.split(".") if not part.startswith("__")]
            if any(part.startswith("_") or part == "internals" for part in {*parts} - NAMEDTUPLE):
                yield f"line {node.lineno}: {name}"  # type: ignore[attr-defined]


def test_private_names_are_in_their_modules_only() -> None:
    found = {str(path.relative_to(ROOT)): list(private_names(ast.parse(path.read_text("utf-8")))) for path in SOURCES}
    assert {path for path, names in found.items() if names} == set(MODULES), found


@pytest.mark.parametrize("path", MODULES)
def test_their_libraries_are_pinned_to_the_checked_versions(path: str) -> None:
    """A new bound fails here: run the module's test with it, read the library's changes, then change both."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert MODULES[path] in project["dependencies"]
    name = Path(path).stem
    assert len(list((ROOT / "tests").rglob(f"test_{name}.py"))) == 1
