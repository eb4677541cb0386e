"""Choosing a theme while seeing it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.theme import Theme
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ikeconsole.dialogs.dialog import Modal
from ikeconsole.looks.state_styles import state_styles
from ikeconsole.looks.themes import ConsoleTheme
from ikeconsole.looks.toml_files import FileProblem


class ThemePicker(Modal[str | None]):
    """All themes, the one under the cursor worn at once; the result is the one kept, or None for none.

    `problems` are those of theme files that were left out.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "restore", "back"),
        Binding("j", "down", "down", show=False),
        Binding("k", "up", "up", show=False),
    ]

    def __init__(self, problems: Sequence[FileProblem] = ()) -> None:
        super().__init__()
        self._problems = problems
        self._before = self.app.theme

    def compose(self) -> ComposeResult:
        """The list, what is wrong, and the keys."""
        frame = Vertical(classes="dialog")
        frame.border_title = "Theme"
        with frame:
            yield OptionList(*map(_option, self._themes()))
            if self._problems:
                yield Static(_left_out(self._problems), id="theme-problems", markup=False)
            yield Static("↑↓ or j k try   Enter keep   Esc back", id="theme-keys")

    def on_mount(self) -> None:
        """Begin at the theme that is worn."""
        themes = self.query_one(OptionList)
        themes.highlighted = themes.get_option_index(self._before)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Wear the theme under the cursor, unless the choice fell meanwhile."""
        if self.is_current and event.option_id:
            self.app.theme = event.option_id

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Keep the theme."""
        if event.option_id:
            self.app.theme = event.option_id
            self.dismiss(event.option_id)

    def action_restore(self) -> None:
        """Wear what was worn before."""
        self.app.theme = self._before
        self.dismiss(None)

    def action_down(self) -> None:
        """Go to the next theme."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """Go to the theme before."""
        self.query_one(OptionList).action_cursor_up()

    def _themes(self) -> list[Theme]:
        """Those with a title first: they are made for this console."""
        themes = self.app.available_themes.values()
        return sorted(themes, key=lambda theme: (not isinstance(theme, ConsoleTheme), theme.name))


def _option(theme: Theme) -> Option:
    title = theme.title if isinstance(theme, ConsoleTheme) else theme.name.replace("-", " ").capitalize()
    kind = "dark" if theme.dark else "light"
    return Option(Text.assemble(_sample(theme), f"  {title:<32.32} {theme.name:<18.18} {kind}"), id=theme.name)


def _sample(theme: Theme) -> Text:
    """Up, drain and down in the theme's own colours."""
    styles = state_styles(theme)
    states = [("●", styles.up), (" ", ""), ("◐", styles.drain), (" ", ""), ("○", styles.down)]
    ground = "" if theme.ansi else f"on {theme.to_color_system().generate()['background']}"
    return Text.assemble(" ", *states, " ", style=ground)


def _left_out(problems: Sequence[FileProblem]) -> str:
    """The first problem whole, the others counted: there is room for little more."""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"▲ Left out: {problems[0]}{more}"
