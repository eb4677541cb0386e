"""docs/security.md claims nothing without a test: those that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
PAGE = TESTS.parent / "docs" / "security.md"


def test_the_tests_that_the_page_names_are_there() -> None:
    named = re.findall(r"`([\w/:]+(?:\.py|/))`", PAGE.read_text())
    assert len(named) > 30
    for name in (name for name in named if name != "tests/"):
        path = name.replace("T:", "engine/security/test_security_")
        found = list(TESTS.rglob(path)) if "/" not in path else [TESTS / path]
        assert any(one.exists() for one in found), f"{name} is not there"
