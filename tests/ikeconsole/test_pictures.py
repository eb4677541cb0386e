"""The pictures in the documentation show the console as it is, and need nothing from elsewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pictures import DIRECTORY, PICTURES, Picture, draw, forget_the_user, self_contained

ROOT = Path(__file__).parents[2]


@pytest.mark.asyncio
@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
async def test_a_picture_is_what_the_console_shows_today(picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", os.environ.copy())
    forget_the_user()
    path = DIRECTORY / f"{picture.name}.svg"
    # Not a plain comparison: pytest would explain for minutes how two such texts differ.
    assert (path.exists() and path.read_text(encoding="utf-8") == await draw(picture)) is True, "run `make pictures`"


def test_there_is_no_other_picture_and_each_is_well_formed_and_fetches_nothing() -> None:
    files = sorted(DIRECTORY.iterdir())
    assert [file.name for file in files] == sorted(f"{picture.name}.svg" for picture in PICTURES)
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert "url(http" not in text
        assert "@font-face" not in text
        assert "href" not in text


def test_each_picture_is_shown_somewhere_and_none_that_does_not_exist() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "README.md", ROOT / "docs" / "themes.md"))
    assert set(re.findall(r"pictures/([\w-]+)\.svg", text)) == {picture.name for picture in PICTURES}


def test_words_and_bars_stand_in_their_cells() -> None:
    svg = (
        '<text class="terminal-7-r1" x="0" y="19.5" textLength="61" clip-path="url(#a)">&#160;a&#160;&#160;&lt;</text>'
    )
    assert self_contained(svg).splitlines() == [
        '<text class="c-r1" x="12.2" y="19.5" textLength="12.2">a</text>',
        '<text class="c-r1" x="48.8" y="19.5" textLength="12.2">&lt;</text>',
    ]
    svg = '<text class="terminal-7-r1" x="0" y="19.5" textLength="36.6" clip-path="url(#a)">▄▄▌</text>'
    assert [re.findall(r'="([\d.]+)"', shape) for shape in self_contained(svg).splitlines()] == [
        ["0", "13.2", "24.9", "12.7"],
        ["24.4", "1", "6.6", "24.9"],
    ]
