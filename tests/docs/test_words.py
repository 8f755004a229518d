"""The documentation is written in plain words: a list of words that make it hard to read is rejected."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.test_docs import PAGES

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
}
WORDS = re.compile(rf"\b(?:{'|'.join(PLAIN)})\b", re.IGNORECASE)


def rejected(text: str) -> list[str]:
    """Each rejected word with its line and the plain one."""
    return [
        f"line {number}: '{found[0]}' (rather: {PLAIN[found[0].lower()]})"
        for number, line in enumerate(text.splitlines(), 1)
        for found in WORDS.finditer(line)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_uses_plain_words(page: Path) -> None:
    assert rejected(page.read_text(encoding="utf-8")) == []


def test_the_list_finds_whole_words_only() -> None:
    assert rejected("It was mended.\nThe court of appeal\nmending, courtesy, untold") == [
        "line 1: 'mended' (rather: fixed, corrected)",
        "line 2: 'court' (rather: sampler selection)",
    ]
