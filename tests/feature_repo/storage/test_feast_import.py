"""Feast is imported without its type checks, except where definitions that may have changed are read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

READ = "from feature_repo.storage.feast_import import import_feast; import_feast()\n"
WRONG = """
import feast
try:
    feast.Entity(name="card", join_keys=3)
except Exception as error:
    print(type(error).__name__)
"""
CHANGED = """
import os
from configs import load_settings
from feature_repo.definitions.dependencies import service_views
from feature_repo.definitions.feature_store import apply
settings = load_settings("local", {"HEADRACE_HOME": HOME})
os.environ.update(settings.variables())
"""


def said(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_the_import_skips_the_checks_and_leaves_typeguard_as_it_was() -> None:
    assert said(READ + WRONG) == "TypeError"
    assert said(READ + "import typeguard; print(typeguard.typechecked.__module__)") == "typeguard"


def test_feast_that_is_imported_already_keeps_its_checks() -> None:
    assert said("import feast\n" + READ + WRONG) == "TypeCheckError"


@pytest.mark.parametrize("call", ["service_views(settings, 'flight_risk')", "apply(settings)"])
def test_reading_changed_definitions_imports_feast_with_its_checks(call: str, tmp_path: Path) -> None:
    assert said(f"HOME = {str(tmp_path)!r}" + CHANGED + call + WRONG) == "TypeCheckError"
