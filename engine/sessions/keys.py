"""What leads to a session: its SPIs, its client's address, persistence records, the snat address that it uses."""

from __future__ import annotations

from engine.config.schema import PersistenceKind
from engine.sessions.flow import Flow
from engine.sessions.persistence import PersistenceRecord, client_network
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import SPI_PAIRS_KEPT, Session

# To look up an enumeration's member by name costs as much as all else on a line that compares with it.
_SOURCE_ADDRESS = PersistenceKind.SOURCE_ADDRESS


def claim(session: Session) -> None:
    """Have everything that a session is known by lead to it."""
    service, source = session.service, session.source_address
    service.by_host.setdefault(session.host, []).append(session)
    for spi_i, _ in session.spis:
        service.by_spi.claim(spi_i, session)
    for spi in session.esp_in:
        service.by_esp.claim(spi, session)
    if source:
        session.server.source_use[source] += 1


def release(session: Session) -> None:
    """Have nothing lead to a session any more."""
    service = session.service
    for spi_i, _ in session.spis:
        service.by_spi.release(spi_i, session)
    for spi in session.esp_in:
        service.by_esp.release(spi, session)
    _leave_host(session)
    use_source(session, "")


def bind_spis(session: Session, spi_i: int, spi_r: int) -> None:
    """Make a session known by an SPI pair; the responder's SPI may come later."""
    spis = session.spis
    if (spi_i, spi_r) in spis:
        return
    if (spi_i, 0) in spis:
        at = spis.index((spi_i, 0))
        session.spis = (*spis[:at], (spis[at][0], spi_r), *spis[at + 1 :])
        return
    if len(spis) >= SPI_PAIRS_KEPT:
        (forgotten, _), spis = spis[0], spis[1:]
        if all(known_i != forgotten for known_i, _ in spis):
            session.service.by_spi.release(forgotten, session)
    session.spis = (*spis, (spi_i, spi_r))
    session.service.by_spi.claim(spi_i, session)


def change_host(session: Session, host: str) -> None:
    """Make a session known by another client address."""
    _leave_host(session)
    session.host, session.host_key = host, ""
    session.service.by_host.setdefault(host, []).append(session)


def use_source(session: Session, address: str) -> None:
    """Note which address stands for the client towards the real server (snat); empty: none does."""
    if session.source_address == address:
        return
    use = session.server.source_use
    if session.source_address:
        use[session.source_address] -= 1
        if use[session.source_address] <= 0:
            del use[session.source_address]
    session.source_address = address
    if address:
        use[address] += 1


def remember(service: Service, host: str, server: RealServer, now_s: float) -> PersistenceRecord:
    """Point a client's persistence record at a server."""
    return service.persistence.remember(client_network(host, service.config.persistence_prefix), server, now_s)


def keep_record(session: Session, flow: Flow, now_s: float) -> None:
    """Have a flow keep its client's persistence record alive, or make one.

    A session that was set up elsewhere does not change where others of its new address go.
    """
    if flow.persistence is not None:
        return
    config, records = session.service.config, session.service.persistence
    if config.persistence is not _SOURCE_ADDRESS:
        return
    network = client_network(flow.client[0], config.persistence_prefix)
    if not session.half_open:
        record = records.get(network, config.persistence_timeout_s, now_s)
        if record is not None and record.flows and record.server is not session.server:
            return
    flow.persistence = records.remember(network, session.server, now_s)
    records.take(flow.persistence)


def _leave_host(session: Session) -> None:
    siblings = session.service.by_host[session.host]
    siblings.remove(session)
    if not siblings:
        del session.service.by_host[session.host]
