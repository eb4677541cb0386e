"""Terminals of 16 colours or fewer: the Linux console, and a TERM that promises no more."""

from __future__ import annotations

from typing import Final

from rich._palettes import STANDARD_PALETTE
from rich.console import Console
from rich.terminal_theme import TerminalTheme

FEW_COLOURS: Final = "few-colours"
"""The class, for style sheets, of an application in which no ground is set apart from another for certain."""

THE_16: Final = TerminalTheme(
    (0, 0, 0),
    (255, 255, 255),
    [STANDARD_PALETTE[number] for number in range(8)],
    [STANDARD_PALETTE[number] for number in range(8, 16)],
)
"""Named colours as Rich knows them, so that it finds back to the same ones: with others, red comes out as magenta."""


def has_few_colours(console: Console) -> bool:
    """Whether the nearest colours of a terminal make much of a theme look the same."""
    return console.color_system not in ("256", "truecolor")
