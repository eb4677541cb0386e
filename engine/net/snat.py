"""Which of the balancer's own addresses stands for a client towards a real server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.sessions.session import Session

ANY_ADDRESS = ""
"""Leaves the choice to the route."""


def sources_for(session: Session, pool: Sequence[str]) -> Iterator[str]:
    """Yield the addresses to try for a session's flows: the one it has, then the least used at its real server.

    Servers limit the IKE SAs that they accept from one address.
    """
    use = session.server.source_use.__getitem__
    first = session.source_address or min(pool, key=use, default=ANY_ADDRESS)
    yield first
    yield from sorted((address for address in pool if address != first), key=use)
