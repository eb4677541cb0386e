"""The COOKIE challenge in front of the real servers (RFC 7296 section 2.6): newcomers prove their address first.

A first message without a valid cookie gets one, made from nothing but that message, and leaves nothing behind. The
repetition that brings it goes on unchanged to a real server, which ignores a cookie that it did not ask for; if it asks
for one of its own, the client's next message belongs to a session already and passes.

The fast path can do the same in the kernel. What it must know is one `ChallengeState`, passed to `observe` whenever
it changes; what it did it counts in the services' `newcomers`. Bytes of the cookie: the key's number; then, little
endian, the SipHash-2-4 under that key of the client's address as 16 bytes (IPv4 as ::ffff:a.b.c.d) and SPIi as on the
wire.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import msgspec
import trio

from engine.net.batches import mapped_address
from engine.policy.admission import Verdict
from engine.sessions.flow import Port, SocketAddress
from engine.sessions.newcomers import TICK_S, Newcomers
from engine.sessions.service import Service
from engine.sessions.steering import Unsteerable
from engine.wire.cookie import (
    COOKIE_SIZE_BYTES,
    KEY_SIZE_BYTES,
    CookieKeys,
    cookie_demand,
    deserves_demand,
    first_cookie,
)
from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.header import HEADER_SIZE_BYTES, IkeHeader

ROTATED_EVERY_S: Final = 60.0
"""A cookie is good for one to two of these: clients that mean it are back within seconds."""

# To look up an enumeration's member by name costs as much as all else on a line that compares with it.
_ADMIT = Verdict.ADMIT


class ChallengeState(msgspec.Struct, frozen=True):
    """Everything that whoever challenges newcomers must know."""

    services: frozenset[str]
    """Names of the services that ask for cookies now."""
    keys: CookieKeys


class ClientPort(Protocol):
    """One port of a service, as the challenge sees it."""

    service: Service
    port: Port

    def speak(self, peer: bytes, message: bytes) -> None:
        """Send a message of the balancer's own to a client's raw address."""
        ...


class Challenge:
    """Judges first messages, and answers those that must bring a cookie."""

    def __init__(self) -> None:
        self.observe: Callable[[ChallengeState], None] = _nobody
        """Told of every change; whoever sets it looks at `state` first."""
        self._rotated_s = 0.0
        self.state = ChallengeState(frozenset(), CookieKeys(0, _new_key(), _new_key()))

    def admits(
        self, at: ClientPort, peer: bytes, client: SocketAddress, header: IkeHeader, data: memoryview, now_s: float
    ) -> bool:
        """Whether an IKE_SA_INIT message may go on to a real server; False: its sender was asked for a cookie.

        `peer` is the sender's raw address, `client` the same as a socket address.

        Raises:
            Unsteerable: it is dropped.
        """
        service = at.service
        newcomers, config = service.newcomers, service.config
        host = client[0]
        # What repeats the message that began a session passes, but only from its own address: else whoever has a
        # session could send forged messages past the challenge. Responses, and what nobody sent, go no further anyway.
        known = not header.spi_r and service.named_by(header, host) is not None
        if known or header.response or not client[1]:
            return True
        newcomers.brace(config, now_s)
        asked = newcomers.challenging(config)
        proven = asked and self._proves(newcomers, header, _content(at, data), mapped_address(peer))
        verdict = newcomers.judge(config, host, challenging=asked, proven=proven)
        if verdict is _ADMIT:
            return True
        if verdict is Verdict.SOURCE_LIMIT:
            raise Unsteerable("half-open-source-limit")
        if verdict is Verdict.SERVICE_LIMIT:
            raise Unsteerable("half-open-limit")
        if not deserves_demand(header, _content(at, data)):
            raise Unsteerable("implausible-init")
        if service.name not in self.state.services:
            self._enter(self.state.services | {service.name}, now_s)
        answer = cookie_demand(header.spi_i, self.state.keys.cookie(mapped_address(peer), header.spi_i))
        at.speak(peer, NON_ESP_MARKER + answer if at.port is Port.NAT_T else answer)
        newcomers.challenges_sent += 1
        return False

    async def run(self, services: Mapping[str, Service]) -> None:
        """Look at the services in force again and again, until cancelled."""
        while True:
            self.look(services.values(), trio.current_time())
            await trio.sleep(TICK_S)

    def look(self, services: Iterable[Service], now_s: float) -> None:
        """Take in how things stand, about once a second: who is flooded, who asks for cookies, whether keys are old."""
        asking = set()
        for service in services:
            service.newcomers.look(service.config, now_s)
            if service.newcomers.challenging(service.config):
                asking.add(service.name)
        self._enter(frozenset(asking), now_s)

    def _proves(self, newcomers: Newcomers, header: IkeHeader, content: memoryview, address: bytes) -> bool:
        cookie = first_cookie(header, content)
        if self.state.keys.verify(cookie, address, header.spi_i):
            newcomers.cookies_accepted += 1
            return True
        # Of another length it is a real server's, of a session that is forgotten here: that is nobody's fault.
        newcomers.cookies_refused += len(cookie) == COOKIE_SIZE_BYTES
        return False

    def _enter(self, services: frozenset[str], now_s: float) -> None:
        keys = self.state.keys
        if services and now_s - self._rotated_s >= ROTATED_EVERY_S:
            keys = keys.successor(_new_key())
            self._rotated_s = now_s
        state = ChallengeState(services, keys)
        if state != self.state:
            self.state = state
            self.observe(state)


def _content(at: ClientPort, data: memoryview) -> memoryview:
    return data[HEADER_SIZE_BYTES + (len(NON_ESP_MARKER) if at.port is Port.NAT_T else 0) :]


def _new_key() -> bytes:
    return secrets.token_bytes(KEY_SIZE_BYTES)


def _nobody(state: ChallengeState) -> None:
    """Nobody but the slow path challenges."""
