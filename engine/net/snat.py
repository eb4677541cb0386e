"""Which of the balancer's own addresses stands for a client towards a real server."""

from __future__ import annotations

from collections.abc import Sequence

from engine.sessions.session import Session

ANY_ADDRESS = ""
"""Leaves the choice to the route."""


def sources_for(session: Session, pool: Sequence[str]) -> list[str]:
    """The addresses to try for a session's flows, best first: the one it has, then the least used at its real server.

    Servers limit the IKE SAs that they accept from one address.
    """
    use = session.server.source_use
    by_use = sorted(pool, key=lambda address: use[address])
    if not session.source_address:
        return by_use or [ANY_ADDRESS]
    return [session.source_address, *(address for address in by_use if address != session.source_address)]
