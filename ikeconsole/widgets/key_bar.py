"""The line with what can be done with the selected thing."""

from __future__ import annotations

from textual.content import Content

from ikeconsole.actions import ACTIONS
from ikeconsole.widgets.bar import Bar

_KNOWN = frozenset(action.name for group in ACTIONS.values() for action in group)


class KeyBar(Bar):
    """Keys and words of the actions that are offered right now."""

    def on_mount(self) -> None:
        """Follow what has the focus and what is selected."""
        super().on_mount()
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.show())

    def line(self, width: int) -> Content:
        """As many actions as fit."""
        offered = [active.binding for active in self.screen.active_bindings.values() if active.enabled]
        line = Content(" ")
        for binding in {binding.action: binding for binding in offered if binding.show}.values():
            if binding.action not in _KNOWN:
                continue
            part = Content.from_markup(
                f"[@click=screen.{binding.action}][bold]$key[/] $title[/]",
                key=self.app.get_key_display(binding),
                title=binding.description,
            )
            if line.cell_length + part.cell_length + 2 > width:
                break
            line = Content.assemble(line, part, "  ")
        return line
