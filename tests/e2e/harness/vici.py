"""A client of strongSwan's VICI protocol: how a charon is configured, commanded and asked.

The protocol is described in strongSwan's src/libcharon/plugins/vici/README.md.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

Value: TypeAlias = "str | int | Sequence[str] | Mapping[str, Value]"


class ViciError(Exception):
    """charon refused a command."""


class _Packet(IntEnum):
    REQUEST = 0
    RESPONSE = 1
    REGISTER = 3
    UNREGISTER = 4
    CONFIRM = 5
    EVENT = 7


class _Element(IntEnum):
    SECTION_START = 1
    SECTION_END = 2
    KEY_VALUE = 3
    LIST_START = 4
    LIST_ITEM = 5
    LIST_END = 6


def _name(text: str) -> bytes:
    return struct.pack("!B", len(text)) + text.encode()


def _text(value: str | int) -> bytes:
    raw = str(value).encode()
    return struct.pack("!H", len(raw)) + raw


def encode(message: Mapping[str, Value]) -> bytes:
    """A message as bytes."""
    parts: list[bytes] = []
    for key, value in message.items():
        match value:
            case str() | int():
                parts += [bytes([_Element.KEY_VALUE]), _name(key), _text(value)]
            case Mapping():
                parts += [bytes([_Element.SECTION_START]), _name(key), encode(value)]
                parts.append(bytes([_Element.SECTION_END]))
            case _:
                parts += [bytes([_Element.LIST_START]), _name(key)]
                parts += [bytes([_Element.LIST_ITEM]) + _text(item) for item in value]
                parts.append(bytes([_Element.LIST_END]))
    return b"".join(parts)


def decode(raw: bytes) -> dict[str, Any]:
    """Bytes as nested dicts, lists and strings."""
    root: dict[str, Any] = {}
    sections = [root]
    items: list[str] = []
    at = 0

    def take(width: int) -> str:
        nonlocal at
        length = int.from_bytes(raw[at : at + width], "big")
        start = at + width
        at = start + length
        return raw[start:at].decode("utf-8", "replace")

    while at < len(raw):
        element = _Element(raw[at])
        at += 1
        match element:
            case _Element.SECTION_START:
                sections.append(sections[-1].setdefault(take(1), {}))
            case _Element.SECTION_END:
                sections.pop()
            case _Element.KEY_VALUE:
                key = take(1)
                sections[-1][key] = take(2)
            case _Element.LIST_START:
                items = sections[-1].setdefault(take(1), [])
            case _Element.LIST_ITEM:
                items.append(take(2))
            case _Element.LIST_END:
                continue
    return root


class Vici:
    """One connection to a charon."""

    def __init__(self, path: Path, timeout_s: float = 30) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def request(self, command: str, message: Mapping[str, Value] | None = None) -> dict[str, Any]:
        """Run a command; its answer. Raises ViciError when charon says it failed."""
        self._send(_Packet.REQUEST, command, encode(message or {}))
        answer = self._answer()
        if answer.get("success") == "no":
            raise ViciError(f"{command}: {answer.get('errmsg', 'refused')}")
        return answer

    def stream(self, command: str, event: str) -> list[dict[str, Any]]:
        """Run a listing command; the messages of the event that carries its items."""
        items: list[dict[str, Any]] = []
        self._send(_Packet.REGISTER, event)
        self._answer()
        self._send(_Packet.REQUEST, command)
        self._answer(items)
        self._send(_Packet.UNREGISTER, event)
        self._answer()
        return items

    def _answer(self, events: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """The next packet that is no event; events on the way go to `events`."""
        while True:
            (length,) = struct.unpack("!I", self._read(4))
            packet = self._read(length)
            match packet[0]:
                case _Packet.EVENT if events is not None:
                    events.append(decode(packet[2 + packet[1] :]))
                case _Packet.EVENT:
                    continue
                case _Packet.RESPONSE | _Packet.CONFIRM:
                    return decode(packet[1:])
                case unknown:
                    raise ViciError(f"charon answered with packet type {unknown}: no such command or event")

    def _send(self, kind: _Packet, name: str, payload: bytes = b"") -> None:
        packet = bytes([kind]) + _name(name) + payload
        self._socket.sendall(struct.pack("!I", len(packet)) + packet)

    def _read(self, count: int) -> bytes:
        raw = b""
        while len(raw) < count:
            part = self._socket.recv(count - len(raw))
            if not part:
                raise ConnectionResetError("charon closed the VICI connection")
            raw += part
        return raw
