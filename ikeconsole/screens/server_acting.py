"""A place where something can be done to the real server that is selected or shown there."""

from __future__ import annotations

from textual import work

from engine.control.status import ServerStatus
from ikeconsole.actions import find
from ikeconsole.changes.servers import change_state, change_weight, is_offered, probe_now
from ikeconsole.screens.place import Place


class ServerActing(Place):
    """Enables, drains, disables, weighs and probes `selected_server`."""

    @property
    def selected_server(self) -> ServerStatus | None:
        """What a key acts on; None: there is nothing to act on."""
        raise NotImplementedError

    @property
    def subject(self) -> tuple[str, str]:
        """The real server that keys act on."""
        server = self.selected_server
        return (server.service, server.name) if server else ("", "")

    def offers(self, action: str) -> bool:
        """Changes need a real server on which they would change something."""
        known = find(action, self.PLACE)
        if known is None or not known.changes:
            return True
        server = self.selected_server
        return server is not None and is_offered(action, server)

    @work(exclusive=True)
    async def action_enable(self) -> None:
        """Let the server take new sessions."""
        await self._change_state("enabled")

    @work(exclusive=True)
    async def action_drain(self) -> None:
        """Keep the server's sessions, give it no new ones."""
        await self._change_state("drain")

    @work(exclusive=True)
    async def action_disable(self) -> None:
        """Take the server out of service."""
        await self._change_state("disabled")

    @work(exclusive=True)
    async def action_weight(self) -> None:
        """Change the server's share of new sessions."""
        if server := self.selected_server:
            await change_weight(self.console_app, server)

    @work(group="probe", exclusive=True)
    async def action_probe(self) -> None:
        """Probe the server now."""
        if server := self.selected_server:
            await probe_now(self.console_app, server.service, server.name)

    async def _change_state(self, state: str) -> None:
        if server := self.selected_server:
            await change_state(self.console_app, server.service, server.name, state)
