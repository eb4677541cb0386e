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
    use = session.server.source_use
    if session.source_address:
        yield session.source_address
    elif not pool:
        yield ANY_ADDRESS
    others = [address for address in pool if address != session.source_address]
    while others:
        least_used = min(others, key=use.__getitem__)
        yield least_used
        others.remove(least_used)
