"""Which of the balancer's own addresses stands for a client towards a real server."""

from __future__ import annotations

from collections.abc import Sequence

from engine.sessions.session import Session


def source_for(session: Session, pool: Sequence[str]) -> str:
    """The address for a session's flows: the one it has, else the pool's least used one at its real server.

    Servers limit the IKE SAs that they accept from one address. Empty: the route's own address.
    """
    if session.source_address or not pool:
        return session.source_address
    use = session.server.source_use
    return min(pool, key=lambda address: use[address])
