"""One IKE SA as far as a balancer can see it."""

from __future__ import annotations

from enum import StrEnum
from struct import Struct
from typing import TYPE_CHECKING, Final

import msgspec

from engine.sessions.expiry import NEVER
from engine.wire.header import Exchange

if TYPE_CHECKING:
    from engine.sessions.flow import Flow, SocketAddress
    from engine.sessions.real_server import RealServer
    from engine.sessions.service import Service
    from engine.sessions.trouble import Complaint

MESSAGES_KEPT = 12
SPI_PAIRS_KEPT = 4
SMALLEST_AUTH_SUCCESS_BYTES = 120
"""An IKE_AUTH answer shorter than this holds no AUTH payload: it is a refusal."""
DELETION_GRACE_S = 0.5
"""ESP that was under way when the IKE SA was deleted."""


class Phase(StrEnum):
    """What the cleartext headers and the ESP stream show of an IKE SA."""

    INIT = "init"
    COOKIE = "cookie"
    AUTH = "auth"
    ESTABLISHED = "established"
    IDLE = "idle"
    MOVED = "moved"
    CLOSED = "closed"


HALF_OPEN = frozenset({Phase.INIT, Phase.COOKIE, Phase.AUTH})


PACKED_MESSAGE: Final = Struct("=d?BI?I?")
"""The fields of a `Message` as a session keeps them: a dozen of them take the room of three records."""


class Message(msgspec.Struct, frozen=True):
    """The cleartext header of one IKE message that passed."""

    at_s: float
    inward: bool
    exchange: int
    message_id: int
    response: bool
    size_bytes: int
    repeated: bool
    """It was seen before, and sent again for lack of an answer or because its answer was."""


class Session:
    """An IKE SA: its SPIs, its flows, its real server, its phase."""

    __slots__ = (
        "answered",
        "auth_answered_s",
        "auth_response_bytes",
        "checksums",
        "complaint",
        "created_s",
        "decided",
        "deleted_s",
        "ended_bytes_in",
        "ended_bytes_out",
        "ended_packets_in",
        "ended_packets_out",
        "esp_in",
        "esp_out",
        "flows",
        "half_open",
        "host",
        "host_key",
        "init_message",
        "init_s",
        "last_seen_s",
        "left_source",
        "looked_at_s",
        "number",
        "packed_messages",
        "phase",
        "place",
        "rekeyed_s",
        "retransmitted_in",
        "retransmitted_out",
        "server",
        "server_fragments",
        "service",
        "source_address",
        "spis",
        "vendor",
        "was_established",
        "why",
    )

    def __init__(self, number: int, service: Service, server: RealServer, host: str, why: str, now_s: float) -> None:
        self.number = number
        self.service = service
        self.server = server
        self.host = host
        self.host_key = ""
        """Its place among addresses, worked out by whoever needs it first: see `engine.sessions.query.host_key`."""
        self.decided = why
        """Why this real server."""
        self.why = why
        """The same, and how its client was recognised if it goes on from elsewhere."""
        self.phase = Phase.INIT
        self.half_open = True
        """Whether the IKE SA is still being set up, which follows from the phase; asked for with every message."""
        self.was_established = False
        self.init_message = b""
        """The client's latest IKE_SA_INIT request: its vendor, proposals and notifies stand there in clear."""
        self.vendor: str | None = None
        """What that says of the client's product, once somebody has asked: see `engine.sessions.query.vendor_of`."""
        self.init_s: float | None = None
        """When the client's first IKE_SA_INIT passed; None: none was seen."""
        self.auth_answered_s: float | None = None
        """When the real server's latest IKE_AUTH answer passed while the IKE SA was being set up."""
        self.server_fragments = False
        """Whether the real server agreed to IKE fragmentation (RFC 7383)."""
        self.spis: tuple[tuple[int, int], ...] = ()
        self.esp_in: tuple[int, ...] = ()
        """SPIs of its ESP towards the real server, which chose them; the latest few, the newest first."""
        self.esp_out: tuple[int, ...] = ()
        """SPIs of its ESP towards the client."""
        self.answered: tuple[int, int, int] | None = None
        """Both SPIs and message id of the latest request that the real server answered encrypted."""
        self.place: SocketAddress | None = None
        """Where on the NAT-T port the real server last showed its client to be."""
        self.flows: tuple[Flow, ...] = ()
        self.looked_at_s = NEVER
        self.created_s = now_s
        self.last_seen_s = now_s
        self.rekeyed_s = 0.0
        """When a CREATE_CHILD_SA last passed: SPIs never seen before belong to the latest of these."""
        self.auth_response_bytes = 0
        self.deleted_s = 0.0
        """When an exchange passed that looks like the deletion of the IKE SA; 0: none did."""
        self.source_address = ""
        """The address that stands for the client towards the real server (snat)."""
        self.left_source: SocketAddress | None = None
        """Address and port that stood for the client at its place when it was last left (snat): the real server goes on
        to send its ESP there."""
        self.packed_messages = b""
        """The latest, oldest first."""
        self.checksums = b""
        """Of the latest messages, four bytes each: what comes again is a retransmission."""
        self.retransmitted_in = 0
        self.retransmitted_out = 0
        self.complaint: Complaint | None = None
        """The latest error that a peer told the other in the clear."""
        self.ended_packets_in = 0
        self.ended_bytes_in = 0
        self.ended_packets_out = 0
        self.ended_bytes_out = 0

    @property
    def anonymous(self) -> bool:
        """Whether no IKE message of it was ever seen: its server is a guess that a known SPI overrules."""
        return not self.spis

    @property
    def messages(self) -> list[Message]:
        """The latest, oldest first."""
        return [Message(*fields) for fields in PACKED_MESSAGE.iter_unpack(self.packed_messages)]

    @property
    def auth_accepted(self) -> bool:
        """Whether the real server's latest IKE_AUTH answer is no refusal, as far as its size tells."""
        return self.auth_response_bytes >= SMALLEST_AUTH_SUCCESS_BYTES

    @property
    def authenticated(self) -> bool:
        """Whether the real server had the last word in IKE_AUTH, and it was no refusal.

        What the client says after that takes nothing back: it may have moved, and be sent to another server at first.
        """
        words = (message.inward for message in reversed(self.messages) if message.exchange == Exchange.IKE_AUTH)
        return self.auth_accepted and not next(words, False)

    @property
    def handshake_s(self) -> float | None:
        """From the client's first IKE_SA_INIT to the real server's last IKE_AUTH answer; None: not seen or not over."""
        if not self.was_established or self.init_s is None or self.auth_answered_s is None:
            return None
        return self.auth_answered_s - self.init_s

    @property
    def quiet_since_deletion(self) -> bool:
        """Whether nothing has shown that the IKE SA lives on."""
        return self.last_activity_s() <= self.deleted_s + DELETION_GRACE_S

    @property
    def whereabouts(self) -> SocketAddress | None:
        """Where its client was last shown to be by its real server; before that, where it wrote from last."""
        if self.place is not None:
            return self.place
        return self.flows[-1].client if self.flows else None

    def last_activity_s(self) -> float:
        """When anything of it was last seen, on any flow it owns."""
        # Sorting and filtering ask this of every session there is: calling `max` would take twice the time.
        latest = self.last_seen_s
        for flow in self.flows:
            if flow.owner is self:
                if flow.last_in_s > latest:
                    latest = flow.last_in_s
                if flow.last_out_s > latest:
                    latest = flow.last_out_s
        return latest

    def last_sign_s(self) -> float:
        """When a half-open session was last heard of: what comes on a flow that it is only said to have is no sign."""
        if self.anonymous:
            return self.last_activity_s()
        own = (flow.last_seen_s for flow in self.flows if flow.proven and flow.owner is self)
        return max(self.last_seen_s, max(own, default=0.0))

    def take_leave_of(self, flow: Flow) -> None:
        """Carry over what passed on a flow that ends or gets another owner."""
        self.last_seen_s = max(self.last_seen_s, flow.last_seen_s)
        self.ended_packets_in += flow.packets_in
        self.ended_bytes_in += flow.bytes_in
        self.ended_packets_out += flow.packets_out
        self.ended_bytes_out += flow.bytes_out
        flow.packets_in = flow.bytes_in = flow.packets_out = flow.bytes_out = 0
