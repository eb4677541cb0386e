"""The line with what can be done with the selected thing."""

from __future__ import annotations

from textual.content import Content

from ikeconsole.actions import ACTIONS
from ikeconsole.widgets.bar import Bar


class KeyBar(Bar):
    """Keys and words of the actions that are offered right now."""

    def on_mount(self) -> None:
        """Follow what has the focus and what is selected."""
        super().on_mount()
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.show())

    def line(self, width: int) -> Content:
        """As many actions as fit."""
        parts: list[Content] = []
        offered = {active.binding.action: active for active in self.screen.active_bindings.values() if active.enabled}
        known = [action for group in ACTIONS.values() for action in group]
        for binding in dict.fromkeys(active.binding for active in offered.values() if active.binding.show):
            if any(action.name == binding.action for action in known):
                key = self.app.get_key_display(binding)
                parts.append(
                    Content.from_markup(
                        f"[@click={'screen'}.{binding.action}][bold]$key[/bold] $title[/]",
                        key=key,
                        title=binding.description,
                    )
                )
        line = Content(" ")
        for part in parts:
            if line.cell_length + part.cell_length + 2 > width:
                break
            line = Content.assemble(line, part, "  ")
        return line
