"""The IKE probe: a stateless question that only a living IKE daemon answers.

The two questions see different things. strongSwan answers the version probe in the thread that receives,
whatever its workers do and however many half-open IKE SAs it has; the init probe passes through a worker, so it
also finds a daemon whose workers hang, and it alone learns of cookies (busy).
"""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass

import trio

from engine.config.schema import Health, IkeProbe
from engine.health.connect import connect, failure, no_answer
from engine.health.result import ProbeResult, ProbeTarget
from engine.wire.errors import WireError
from engine.wire.probe import PROBE_KE_SIZE_BYTES, ProbeAnswer, init_probe, read_answer, version_probe

_NON_ESP_MARKER = bytes(4)
_DATAGRAM_BYTES = 65_535
_NONCE_BYTES = 32


@dataclass(frozen=True, slots=True)
class _Question:
    """One probe on its way; its random SPI is what a forger off the path cannot know."""

    kind: IkeProbe
    spi: int
    asked_s: float

    def encode(self) -> bytes:
        if self.kind is IkeProbe.VERSION:
            return version_probe(self.spi)
        return init_probe(self.spi, secrets.token_bytes(_NONCE_BYTES), secrets.token_bytes(PROBE_KE_SIZE_BYTES))


class IkeProber:
    """Probes one real server and, under auto, remembers which question it answers."""

    def __init__(self) -> None:
        self._answered: IkeProbe | None = None

    async def probe(self, target: ProbeTarget, health: Health) -> ProbeResult:
        """Ask until the timeout; with two kinds to try, the second goes out after half of it."""
        kinds = self._kinds_to_try(health.ike_probe)
        self._answered = None
        with trio.move_on_after(health.timeout_s):
            try:
                udp = await connect(
                    target.address,
                    target.port,
                    socket.SOCK_DGRAM,
                    source=target.source,
                    transparent=target.transparent,
                )
                with udp:
                    answered = await _ask(udp, kinds, health.timeout_s / len(kinds), target.nat_t)
            except OSError as error:
                return failure(error, target.address, f"UDP {target.port}", target.source)
            if answered is None:
                return no_answer(health.timeout_s)
            question, answer = answered
            if not answer.alive:
                return ProbeResult(ok=False, reason=f"no IKEv2: {answer.detail}", rtt_s=None)
            self._answered = question.kind
            return ProbeResult(
                ok=True,
                reason="answers IKE, demands cookies" if answer.busy else f"answers IKE: {answer.detail}",
                rtt_s=trio.current_time() - question.asked_s,
                busy=answer.busy,
            )
        return no_answer(health.timeout_s)

    def _kinds_to_try(self, configured: IkeProbe) -> list[IkeProbe]:
        if configured is not IkeProbe.AUTO:
            return [configured]
        if self._answered is not None:
            return [self._answered]
        return [IkeProbe.VERSION, IkeProbe.INIT]


async def _ask(
    udp: trio.socket.SocketType, kinds: list[IkeProbe], patience_s: float, nat_t: bool
) -> tuple[_Question, ProbeAnswer] | None:
    """Ask one kind after the other, each with its own patience; a late answer to an earlier one counts."""
    marker = _NON_ESP_MARKER if nat_t else b""
    questions: list[_Question] = []
    for kind in kinds:
        question = _Question(kind, spi=secrets.randbelow(2**64 - 1) + 1, asked_s=trio.current_time())
        questions.append(question)
        await udp.send(marker + question.encode())
        with trio.move_on_after(patience_s):
            return await _first_answer(udp, questions, marker)
    return None


async def _first_answer(
    udp: trio.socket.SocketType, questions: list[_Question], marker: bytes
) -> tuple[_Question, ProbeAnswer]:
    """Read datagrams until one answers a question; others are not for us."""
    while True:
        datagram = await udp.recv(_DATAGRAM_BYTES)
        for question in questions:
            if datagram.startswith(marker):
                with suppress(WireError):
                    return question, read_answer(datagram[len(marker) :], question.spi)
