"""Captured IKE messages: as one line each, and as cells of a table."""

from __future__ import annotations

import time

from rich.text import Text

from engine.control.captured import CapturedMessage
from engine.wording import count
from ikeconsole.capture_reader import ReadMessage
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import clock
from ikeconsole.render.states import ALARM, TERMINAL, StateStyles


def captured_line(read: ReadMessage, styles: StateStyles = TERMINAL) -> Text:
    """Everything in one line: when, which way, between whom, what it is, and what it shows in the clear."""
    message, decoded = read.message, read.decoded
    facts = (decoded.exchange, decoded.kind, decoded.flags, decoded.spis, f"{len(message.data)} bytes")
    return Text.assemble(
        (milliseconds(message.at), styles.quiet),
        " ",
        arrow(message, styles),
        printable(f" {message.client} {message.port} {message.server or '-'}  {' '.join(filter(None, facts))}  "),
        shown(read, styles),
    )


def arrow(message: CapturedMessage, styles: StateStyles) -> Text:
    """Which way it goes: to the real server, or back."""
    return Text("→", styles.spark_in) if message.direction == "in" else Text("←", styles.spark_out)


def shown(read: ReadMessage, styles: StateStyles) -> Text:
    """Its payloads in the clear, after what happened to it and before it."""
    said = Text()
    if read.lost_before:
        said.append(f"{ALARM} {count(read.lost_before, 'message')} lost before  ", styles.warning)
    if read.message.dropped:
        said.append(f"{ALARM} dropped: {printable(read.message.dropped)}  ", styles.error)
    return said.append(printable(read.decoded.what))


def in_full(read: ReadMessage) -> list[str]:
    """Everything that is known of a message, a fact a line."""
    message, decoded = read.message, read.decoded
    way = "→" if message.direction == "in" else "←"
    facts = [
        f"{clock(message.at)}.{_thousandths(message.at)}  message {message.number} of the capture",
        f"client {message.client} {way} service {message.vip} ({message.service}, {message.port})",
    ]
    if message.server:
        facts.append(f"source {message.source or 'none'} {way} real server {message.server_address} ({message.server})")
    if message.dropped:
        facts.append(f"dropped: {message.dropped}")
    facts.append(f"{' '.join(filter(None, (decoded.exchange, decoded.kind)))}, {len(message.data)} bytes of UDP")
    if decoded.spi_i:
        facts.append(f"SPIs {decoded.spi_i} / {decoded.spi_r or 'none yet'}, flags {decoded.flags}")
    return [printable(fact) for fact in (*facts, decoded.what) if fact]


def ports(message: CapturedMessage) -> str:
    """The client's UDP port and the service's."""
    return f"{message.client.rpartition(':')[2]}-{message.vip.rpartition(':')[2]}"


def milliseconds(at: float) -> str:
    """Local time of a Unix time, to the millisecond."""
    return f"{time.strftime('%H:%M:%S', time.localtime(at))}.{_thousandths(at)}"


def _thousandths(at: float) -> str:
    return f"{int(at * 1000) % 1000:03}"
