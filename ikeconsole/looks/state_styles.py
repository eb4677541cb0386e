"""The colours of states, severities and marks in a theme: given by it, or derived so that they can be read."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from ikeconsole.render.states import StateStyles

READABLE = 5.0
"""The contrast that derived colours have at least: WCAG 2.1 wants 4.5, and terminals of 256 colours round."""

DERIVED_FROM = {
    "state-up": "success",
    "state-drain": "warning",
    "state-down": "error",
    "state-disabled": "muted",
    "state-unknown": "secondary",
    "severity-notice": "primary",
    "severity-warning": "warning",
    "severity-error": "error",
    "spark-in": "primary",
    "spark-out": "accent",
    "bar": "primary",
    "bar-over": "warning",
    "changed": "accent",
    "quiet": "muted",
    "stale": "muted",
}
"""Our variables of text, each with the colour it takes from a theme that does not give it."""

ROW_CURSOR = "row-cursor"
"""Our variable of the ground of a selected row, on which all of those can still be read."""


def state_styles(theme: Theme) -> StateStyles:
    """The styles of cells that Rich renders, in `theme`; ask again when the theme changes, not for every cell."""
    given = state_variables(theme) | theme.variables
    ground = Color.parse(_colours(theme)["background"])

    def style(variable: str, *, bold: bool = False) -> str:
        colour = Color.parse(given[variable])
        return str(Style(color=(colour if colour.a == 1 else ground + colour).rich_color, bold=bold or None))

    return StateStyles(
        up=style("state-up"),
        drain=style("state-drain"),
        down=style("state-down", bold=True),
        disabled=style("state-disabled"),
        unknown=style("state-unknown"),
        notice=style("severity-notice"),
        warning=style("severity-warning"),
        error=style("severity-error", bold=True),
        quiet=style("quiet"),
        bar=style("bar"),
        bar_over=style("bar-over"),
        spark_in=style("spark-in"),
        spark_out=style("spark-out"),
    )


def state_variables(theme: Theme) -> dict[str, str]:
    """Our variables for style sheets, derived for `theme`: the app's defaults beside what the theme gives."""
    colours = _colours(theme)
    if theme.ansi:  # the terminal's palette: nothing is known of its contrasts
        colours["muted"] = "ansi_default"
        return {name: colours[source] for name, source in DERIVED_FROM.items()} | {
            ROW_CURSOR: colours["block-cursor-background"]
        }
    background, foreground, panel = (Color.parse(colours[name]) for name in ("background", "foreground", "panel"))
    cursor = Color.parse(theme.variables.get(ROW_CURSOR) or panel.blend(Color.parse(colours["primary"]), 0.2).hex)
    colours["muted"] = foreground.blend(background, 0.4).hex
    grounds = [background, Color.parse(colours["surface"]), panel, cursor]
    derived = {name: _legible(Color.parse(colours[source]), grounds).hex for name, source in DERIVED_FROM.items()}
    return derived | {ROW_CURSOR: cursor.hex}


def contrast_ratio(one: Color, other: Color) -> float:
    """The contrast of two opaque colours, 1 to 21 (WCAG 2.1)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _colours(theme: Theme) -> dict[str, str]:
    return theme.to_color_system().generate() | theme.variables


def _legible(colour: Color, grounds: Sequence[Color]) -> Color:
    """The colour nearest to `colour` that can be read on all of `grounds`."""
    ink = grounds[0].get_contrast_text(1.0)
    shades = (colour.blend(ink, step / 10) for step in range(11))
    return next((shade for shade in shades if all(contrast_ratio(shade, on) >= READABLE for on in grounds)), ink)


def _luminance(colour: Color) -> float:
    def linear(part: float) -> float:
        return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)

    red, green, blue = (linear(part) for part in colour.normalized)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
