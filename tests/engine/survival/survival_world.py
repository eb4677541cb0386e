"""A world whose sessions are saved, and the one that the next engine has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from engine.acceleration import Acceleration
from engine.sessions.fast_path import Forwarded
from engine.sessions.flow import Flow
from engine.survival.adoption import IN_KERNEL, Adopted
from engine.survival.saving import JOURNAL, Saving
from engine.survival.takeover import take_over
from tests.engine.sessions.session_world import World


class Leftovers(Acceleration):
    """A kernel that has these flows."""

    def __init__(self, world: World, flows: list[Forwarded]) -> None:
        super().__init__(world.events)
        self.flows = flows
        self.adopted: list[tuple[Flow, Forwarded]] = []
        self.discarded: list[Forwarded] = []

    async def find(self) -> list[Forwarded]:
        return self.flows

    def adopt(self, flow: Flow, forwarded: Forwarded) -> None:
        self.adopted.append((flow, forwarded))

    def discard(self, forwarded: Forwarded) -> None:
        self.discarded.append(forwarded)


class SavedWorld(World):
    """A world with a journal in a directory."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(**settings)
        self.now_s = trio.current_time()
        self.services = {"vpn": self.service}
        self.saving = Saving(directory, self.table, self.services, self.events)
        self.directory = directory
        self.leftovers = Leftovers(self, [])

    @property
    def journal(self) -> Path:
        return self.directory / JOURNAL

    def unfinished(self) -> list[str]:
        """What writing has left beside the journal."""
        return [file.name for file in self.directory.iterdir() if file.name.startswith(".")]

    async def take_over(self, *forwarded: Forwarded) -> Adopted:
        """What the engine does when it starts."""
        self.leftovers = Leftovers(self, list(forwarded))
        adopted = await take_over(self.journal, self.forwarder, self.services, self.leftovers, self.events)
        self.adopted.update(session.server.name for session in self.sessions() if session.decided != IN_KERNEL)
        return adopted

    async def after_restart(self, *forwarded: Forwarded, **settings: Any) -> SavedWorld:
        """The next engine's world, which has taken over."""
        fresh = SavedWorld(self.directory, **settings)
        await fresh.take_over(*forwarded)
        return fresh

    def told(self, kind: str) -> list[str]:
        return [event.text for event in self.events.after(0, 1000) if event.kind == kind]

    def picture(self) -> dict[int, tuple[object, ...]]:
        """What must be the same afterwards, by session."""
        return {
            session.number: (
                session.server.name,
                session.host,
                session.phase,
                session.why,
                sorted(session.spis),
                session.esp_in,
                session.esp_out,
                session.place,
                session.source_address,
                sorted((flow.port, flow.client, flow.source, flow.proven, flow.settled) for flow in session.flows),
            )
            for session in self.sessions()
        }
