"""The documentation and the sources use plain words: a list of words that make them hard to read is rejected."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_docs import PAGES, ROOT

#: Word -> a plain one, or what to do instead.
PLAIN = {
    "mend": "fix, correct",
    "mends": "fixes, corrects",
    "mended": "fixed, corrected",
    "told": "name who says what to whom",
    "lack": "have no, is missing",
    "lacks": "has no, is missing",
    "court": "sampler selection",
    "ruling": "selection",
    "settle": "choose",
    "settled": "chosen",
    "asked": "requested; or name the request",
    "whoever": "anyone who",
    "somebody": "a person, a user",
    "nobody": "no one; or turn the sentence round",
    "stands": "is",
    "lets": "allows; or name what happens",
    "mending": "fixing, correction",
    "lacking": "missing",
    "settles": "chooses",
    "settling": "choosing",
    "anew": "again",
    "anybody": "anyone, a person",
    "everybody": "all users",
    "whatever": "any; or name it",
}
PACKAGES = ("configs", "feature_repo", "ray_cluster", "flows")
SETTINGS = sorted(path for suffix in ("yaml", "yml") for path in (ROOT / "configs").rglob(f"*.{suffix}"))
#: (file, word) of the string literals that are data.
DATA = {
    ("configs/training.py", "court"),  # the former value of sampling.method, which its error message names
    ("ray_cluster/training/calibration.py", "asked"),  # a key of the evidence document
}


def rejected(text: str, plain: dict[str, str] = PLAIN, first: int = 1) -> list[str]:
    """Each rejected word with its line (``first`` is that of the first line) and the plain one."""
    words = re.compile(rf"\b(?:{'|'.join(plain)})\b", re.IGNORECASE)
    return [
        f"line {number}: '{found[0]}' (rather: {plain[found[0].lower()]})"
        for number, line in enumerate(text.splitlines(), first)
        for found in words.finditer(line)
    ]


def prose(source: str) -> Iterator[tuple[int, str]]:
    """First line and text of each comment, docstring and string literal, without the expressions in f-strings."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def yaml_comments(text: str) -> str:
    """The comments of a YAML file, each on its line."""
    comments = (re.search(r"(?:^|\s)#.*", line) for line in text.splitlines())
    return "\n".join(found[0] if found else "" for found in comments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_uses_plain_words(page: Path) -> None:
    assert rejected(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_sources_of_a_package_use_plain_words(package: str) -> None:
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        plain = {word: better for word, better in PLAIN.items() if (name, word) not in DATA}
        for line, text in prose(path.read_text(encoding="utf-8")):
            found += [f"{name} {each}" for each in rejected(text, plain, line)]
    assert found == []


def test_the_comments_of_the_settings_use_plain_words() -> None:
    assert [
        f"{path.relative_to(ROOT).as_posix()} {each}"
        for path in SETTINGS
        for each in rejected(yaml_comments(path.read_text(encoding="utf-8")))
    ] == []


def test_prose_has_comments_and_strings_and_no_identifiers() -> None:
    source = 'asked = 1  # told\ndef court():\n    """One.\n\n    It stands.\n    """\n    return f"{asked} lacks"\n'
    found = [each for line, text in prose(source) for each in rejected(text, PLAIN, line)]
    assert [each.split(" (")[0] for each in found] == ["line 1: 'told'", "line 5: 'stands'", "line 7: 'lacks'"]
    assert yaml_comments("a: b#c # told\n# asked\n") == " # told\n# asked"


def test_the_list_finds_whole_words_only() -> None:
    assert rejected("It was mended.\nThe court of appeal\nemending, courtesy, untold") == [
        "line 1: 'mended' (rather: fixed, corrected)",
        "line 2: 'court' (rather: sampler selection)",
    ]
