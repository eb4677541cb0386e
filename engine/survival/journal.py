"""The file in which sessions are saved: records one after another, of which the latest of each thing counts.

A line that names the format, then frames: length and CRC-32 of what follows, which is one list of records, the first
being the moment. An engine that is killed leaves at most its last frame torn.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from engine.own_file import open_own
from engine.survival.moment import Moment
from engine.survival.records import Ended, Forgotten, KeptRecord, KeptSession, Record

FORMAT: Final = 1
FIRST_LINE: Final = b"ikeconsole sessions, format %d\n"
LARGEST_BYTES: Final = 4 << 30
LARGEST_FRAME_BYTES: Final = 64 << 20

_FRAME = struct.Struct("<II")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Record])


class Unusable(Exception):
    """A file is not what this version saves; the message, a clause, says what it is."""


@dataclass(slots=True)
class Kept:
    """What a journal tells: the latest of each thing."""

    moment: Moment | None = None
    """The last at which the engine was there; None: nothing was saved."""
    sessions: dict[int, KeptSession] = field(default_factory=dict)
    records: dict[tuple[str, str], KeptRecord] = field(default_factory=dict)
    """By service and client."""
    damage: str = ""
    """What is wrong with the file where reading ended; a torn end is nothing wrong."""

    def take(self, records: Iterable[Record]) -> None:
        """Follow what was written next."""
        for record in records:
            match record:
                case KeptSession():
                    # In the order in which they were saved last: that of sessions on one flow follows from numbers.
                    self.sessions[record.number] = record
                case Ended():
                    self.sessions.pop(record.number, None)
                case KeptRecord():
                    self.records[record.service, record.client] = record
                case Forgotten():
                    self.records.pop((record.service, record.client), None)
                case Moment():
                    self.moment = record


def first_line() -> bytes:
    """What a journal begins with."""
    return FIRST_LINE % FORMAT


def frame(moment: Moment, records: Iterable[Record]) -> bytes:
    """Records as they are appended in one piece."""
    payload = _encoder.encode([moment, *records])
    return _FRAME.pack(len(payload), crc32(payload)) + payload


def read_journal(path: Path) -> Kept:
    """What a journal tells, as far as it can be read; nothing where there is none.

    Raises:
        Unusable: it is no journal, or another version's.
        OSError: it cannot be read, or is somebody else's.
    """
    try:
        with open_own(path) as file:
            if os.fstat(file.fileno()).st_size > LARGEST_BYTES:
                raise Unusable(f"is larger than {LARGEST_BYTES >> 30} GiB")
            content = file.read()
    except FileNotFoundError:
        return Kept()
    if not content:
        return Kept()
    return parse_journal(content)


def parse_journal(content: bytes) -> Kept:
    """What the content of a journal tells; raises Unusable."""
    line, newline, _ = content.partition(b"\n")
    if line + newline != first_line():
        if content == first_line()[: len(content)]:
            return Kept()
        words = FIRST_LINE.partition(b"%d")[0]
        other = line.removeprefix(words)[:20]
        if line.startswith(words) and other.isdigit():
            raise Unusable(f"was written by another version, in format {int(other)}; this version reads {FORMAT}")
        raise Unusable("does not begin as a file of sessions does")
    kept = Kept()
    for payload in _frames(memoryview(content), len(first_line()), kept):
        try:
            kept.take(_decoder.decode(payload))
        except msgspec.MsgspecError as error:
            kept.damage = f"has a record that this version cannot read ({error})"
            break
    return kept


def _frames(content: memoryview, at: int, kept: Kept) -> Iterator[memoryview]:
    """The frames that are whole; says in `kept` what is wrong with the first that is not, unless it is only torn."""
    while at < len(content):
        if at + _FRAME.size > len(content):
            return
        size_bytes, checksum = _FRAME.unpack_from(content, at)
        start, end = at + _FRAME.size, at + _FRAME.size + size_bytes
        payload = content[start:end]
        if not size_bytes or size_bytes > LARGEST_FRAME_BYTES or crc32(payload) != checksum:
            # Also after a power cut, when a file may end with zeros that were never written.
            zeros = not bytes(content[at:]).strip(b"\0")
            torn = zeros or (end >= len(content) and 0 < size_bytes <= LARGEST_FRAME_BYTES)
            kept.damage = "" if torn else f"is damaged {at} bytes after its beginning"
            return
        yield payload
        at = end
