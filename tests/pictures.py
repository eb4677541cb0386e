"""Draws the pictures of the console in docs/pictures: `make pictures`. The same console gives the same files."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Final

from console_pictures import console, look, settle
from fake_link import FakeLink
from rich.cells import cell_len
from textual.widgets import Input
from vpn_edge import VpnEdge

DIRECTORY: Final = Path(__file__).parents[1] / "docs" / "pictures"
SIZE: Final = (110, 32)
CELL: Final = 12.2
LINE: Final = 24.4
BASELINE: Final = 18.5
"""How wide and high rich draws a cell, and how far below its top the letters stand."""
SETTLED_S: Final = 0.1
"""How long nothing changes when nothing will."""
FONTS: Final = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


@dataclass(frozen=True, slots=True)
class Picture:
    """The console after some keys."""

    name: str
    keys: str = ""
    """Names of keys, separated by spaces; `look` asks the engine once more instead."""
    theme: str = "night"


PICTURES: Final = (
    Picture("overview", "down down"),
    Picture("overview-day", "down down", theme="day"),
    Picture("drain", "down d"),
    Picture("sessions", "2 slash s e r v e r colon r r a s minus 1 enter down down down look"),
    Picture("session", "2 slash p h a s e colon m o v e d enter S down down enter look"),
    Picture("server", "3 down down enter"),
    Picture("service", "4 enter down down down down down down down"),
    Picture("plan", "4 enter down down down down down down down left ctrl+s"),
    Picture("events", "5"),
    Picture("themes", "t down"),
)


async def draw(picture: Picture) -> str:
    """The picture as SVG."""
    engine = VpnEdge()
    app = console(FakeLink(engine), theme=picture.theme)
    async with app.run_test(size=SIZE) as pilot:
        app.paused = False
        for key in ["look", *picture.keys.split()]:
            if key == "look":
                engine.pass_time(1.0)
                await look(pilot)
            else:
                await pilot.press(key)
                await settle(pilot)
        for line in app.screen.query(Input):
            line.cursor_blink = False
        drawn = ""
        while (drawing := app.export_screenshot(simplify=True)) != drawn:
            drawn = drawing
            await pilot.pause(SETTLED_S)
        return self_contained(drawn)


def self_contained(svg: str) -> str:
    """An SVG that fetches no font, has no number that is another one in another picture, and every word in its cell."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;]*;", f"font-family: {FONTS};", svg)
    svg = re.sub(r"terminal-\d+-", "c-", svg)
    svg = _TEXT.sub(lambda text: "".join(_pieces(text[1], float(text[2]), float(text[3]), unescape(text[4]))), svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


_TEXT = re.compile(r'<text class="(\S+)" x="(\S+)" y="(\S+)" textLength="\S+" clip-path="\S+">([^<]*)</text>')
_BLANK = "\N{NO-BREAK SPACE}"
_BARS = "▁▂▃▄▅▆▇█"
_SLICES = "▏▎▍▌▋▊▉"
_PIECE = re.compile(
    rf"([{_BARS}])\1*|[{_SLICES}]|[^{_BLANK}{_BARS}{_SLICES}]+(?:{_BLANK}[^{_BLANK}{_BARS}{_SLICES}]+)*"
)


def _pieces(style: str, x: float, y: float, text: str) -> Iterator[str]:
    """Each word where it belongs, and blocks as shapes: fonts differ in blanks, and leave gaps between blocks."""
    for piece in _PIECE.finditer(text):
        left, words = x + CELL * cell_len(text[: piece.start()]), piece[0]
        width = CELL * cell_len(words)
        if bar := piece[1]:
            height = LINE * (_BARS.index(bar) + 1) / 8
            yield _block(style, left, y - BASELINE + LINE - height, width, height)
        elif words in _SLICES:
            yield _block(style, left, y - BASELINE, CELL * (_SLICES.index(words) + 1) / 8, LINE)
        else:
            yield f'<text class="{style}" x="{left:g}" y="{y:g}" textLength="{width:g}">{escape(words)}</text>\n'


def _block(style: str, x: float, y: float, width: float, height: float) -> str:
    # Half a unit wider and higher: neighbours otherwise let the background through where they meet.
    size = f'width="{width + 0.5:g}" height="{height + 0.5:g}"'
    return f'<rect class="{style}" x="{x:g}" y="{y:g}" {size} shape-rendering="crispEdges"/>\n'


def forget_the_user() -> None:
    """Have no setting of the one who runs this be seen in a picture."""
    os.environ |= {"TZ": "UTC", "XDG_CONFIG_HOME": "/nowhere", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    os.environ.pop("NO_COLOR", None)
    time.tzset()


def main() -> None:
    """Draw them all."""
    forget_the_user()
    DIRECTORY.mkdir(exist_ok=True)
    for picture in PICTURES:
        DIRECTORY.joinpath(f"{picture.name}.svg").write_text(asyncio.run(draw(picture)), encoding="utf-8")


if __name__ == "__main__":
    main()
