"""A service at run time: its configuration, its real servers, and the keys that lead to its sessions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from engine.config.schema import Service as ServiceConfig
from engine.config.schema import Source
from engine.policy.schedulers import Scheduler
from engine.sessions.claims import Claims
from engine.sessions.flow import Flow, Port, SocketAddress
from engine.sessions.invariants import Violations
from engine.sessions.newcomers import Newcomers
from engine.sessions.persistence import PersistenceRecord, PersistenceTable, client_network
from engine.sessions.real_server import RealServer
from engine.sessions.unannounced import Unannounced
from engine.wire.header import IkeHeader

if TYPE_CHECKING:
    from engine.sessions.session import Session

# To look up an enumeration's member by name costs as much as all else on a line that compares with it.
_SNAT = Source.SNAT


class Service:
    """One virtual service. Only `keys` and `esp` change the indexes of its sessions."""

    def __init__(
        self,
        config: ServiceConfig,
        servers: dict[str, RealServer],
        scheduler: Scheduler,
        snat_pool: tuple[str, ...],
        max_records: int,
    ) -> None:
        self.config = config
        self.address = str(config.address)
        """Its address, as text."""
        self.snat_pool = snat_pool
        self.servers = servers
        self.scheduler = scheduler
        self.persistence = PersistenceTable(max_records)
        self.flows: dict[Port, dict[SocketAddress, Flow]] = {Port.IKE: {}, Port.NAT_T: {}}
        self.by_spi = Claims()
        """Sessions by their initiator SPIs; the responder's tells apart those that share one."""
        self.by_esp = Claims()
        """Sessions by the SPIs of their ESP towards real servers."""
        self.by_host: dict[str, list[Session]] = {}
        self.drops: Counter[str] = Counter()
        self.newcomers = Newcomers()
        self.unannounced = Unannounced()
        self.violations = Violations()
        self.new_sessions = 0
        self.ended_sessions = 0
        self.ended_packets_in = 0
        self.ended_bytes_in = 0
        self.ended_packets_out = 0
        self.ended_bytes_out = 0
        self.starved = False
        """New clients were turned away, and none has been taken since."""

    @property
    def name(self) -> str:
        """The name the operator gave it."""
        return self.config.name

    @property
    def is_snat(self) -> bool:
        """Whether real servers see an address of the balancer instead of the client's."""
        return self.config.source is _SNAT

    def pin_of(self, host: str) -> PersistenceRecord | None:
        """The operator's pin of a client address, if there is one."""
        if not self.persistence.pins:
            return None
        return self.persistence.pin_of(client_network(host, self.config.persistence_prefix))

    def named_by(self, header: IkeHeader, host: str) -> Session | None:
        """The session that the SPIs of an IKE message from a client address name.

        Before the responder has an SPI anybody may choose the same as somebody else, or repeat what was sent: such a
        message belongs to an IKE SA that is being set up from the same address, or to none that is known.
        """
        # Asked several times for every message: without what generators cost, and mostly about one session or none.
        spi_i, spi_r = header.spi_i, header.spi_r
        if not spi_r:
            for session in self.by_spi.all(spi_i):
                if session.half_open and session.host == host:
                    return session
            return None
        pair = spi_i, spi_r
        for session in self.by_spi.all(spi_i):
            if pair in session.spis:
                return session
        return None

    def begun_with(self, spi_i: int) -> Session | None:
        """The session with an initiator SPI that waits for the responder's, if there is one."""
        return next((session for session in self.by_spi.all(spi_i) if (spi_i, 0) in session.spis), None)

    def tunnel_of(self, esp_spi: int) -> Session | None:
        """The session that has an ESP SPI; None: nobody, or sessions of several real servers.

        Each real server chooses on its own: two may choose the same.
        """
        sessions = self.by_esp.all(esp_spi)
        if not sessions or any(session.server is not sessions[0].server for session in sessions):
            return None
        return sessions[-1]

    def keep_counters_of(self, server: RealServer) -> None:
        """Carry over what passed through a real server that is no longer configured: totals never go back."""
        self.ended_packets_in += server.packets_in
        self.ended_bytes_in += server.bytes_in
        self.ended_packets_out += server.packets_out
        self.ended_bytes_out += server.bytes_out

    def server_at(self, address: SocketAddress) -> tuple[RealServer, Port] | None:
        """The real server and port that a datagram from an address comes from."""
        for server in self.servers.values():
            if server.address == address[0]:
                for port in Port:
                    if server.ports[port] == address[1]:
                        return server, port
        return None
