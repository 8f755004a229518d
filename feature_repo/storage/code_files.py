"""Which of the project's own source files a module needs, found by following imports without running anything.

The key of a cached result holds the code that made it; that code is found here, and never listed by hand.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["PACKAGES", "code_fingerprint", "imported_files", "imported_modules"]

#: The packages whose files are followed.
PACKAGES = ("configs", "feature_repo", "ray_cluster", "flows")


@cache
def imported_files(roots: tuple[str, ...], stop: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Paths such as ``feature_repo/features.py`` of the modules ``roots`` and all that they import, sorted.

    Imports inside functions count, those for type checkers alone do not. A name that a package only passes on leads to
    the module that defines it. A module that is loaded by a name in a string cannot be seen here; it has to be a root.

    Args:
        stop: patterns (:mod:`fnmatch`) of modules that are left out, with what only they import.

    Raises:
        ModuleNotFoundError: a root has no source file.
    """
    found: dict[str, str] = {}
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module not in found and (module in roots or not any(fnmatchcase(module, each) for each in stop)):
            ending = "/__init__.py" if _source(module).name == "__init__.py" else ".py"
            found[module] = module.replace(".", "/") + ending
            waiting += [_defining(*each) for each in _imports_of(module)]
    return tuple(sorted(found.values()))


def imported_modules(text: str) -> tuple[str, ...]:
    """The project's own modules that a source text imports, as roots for :func:`imported_files`."""
    return tuple(sorted({_defining(*each) for each in _imports(text, "")}))


def code_fingerprint(files: Iterable[str], text: str = "") -> str:
    """Fingerprint of a text and the content of files, given as :func:`imported_files` returns them."""
    digest = hashlib.blake2b(text.encode(), digest_size=8)
    for path in files:
        module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        digest.update(_source(module).read_bytes())
    return digest.hexdigest()


def _source(module: str) -> Path:
    found = _find(module)
    if found is None:
        raise ModuleNotFoundError(f"Module {module} has no source file in {', '.join(PACKAGES)}.", name=module)
    return found


@cache
def _find(module: str) -> Path | None:
    """The source file of one of the project's own modules, which is not imported."""
    top, *rest = module.split(".")
    spec = find_spec(top) if top in PACKAGES else None
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, *rest)
        for candidate in (path / "__init__.py", path.with_suffix(".py")):
            if candidate.is_file():
                return candidate
    return None


@cache
def _imports_of(module: str) -> tuple[tuple[str, str | None], ...]:
    path = _source(module)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return tuple(_imports(path.read_text(encoding="utf-8"), package))


def _imports(text: str, package: str) -> Iterator[tuple[str, str | None]]:
    """(module, name) of every import from the project's packages; the name is None for a plain ``import``."""
    waiting: list[ast.AST] = [ast.parse(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from ((each.name, None) for each in node.names if each.name.split(".")[0] in PACKAGES)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*parts, *([node.module] if node.module else [])])
            if module.split(".")[0] in PACKAGES:
                yield from ((module, each.name) for each in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        else:  # only statements hold imports, so expressions are not looked into
            for part in ("body", "orelse", "finalbody", "handlers", "cases"):
                inside = getattr(node, part, None)
                waiting += inside if isinstance(inside, list) else ()


def _defining(module: str, name: str | None) -> str:
    """The module that ``from module import name`` takes the name from."""
    if name is None:
        return module
    if _find(f"{module}.{name}"):
        return f"{module}.{name}"
    if (path := _find(module)) and path.name == "__init__.py":
        for inner, passed in _imports_of(module):
            if passed == name:
                return _defining(inner, passed)
    return module
