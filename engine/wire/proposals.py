"""SA payloads: the proposals of an IKE SA and the transforms in them (RFC 7296 section 3.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from engine.wire.algorithms import TransformType, transform_name
from engine.wire.errors import WireError

PROTOCOL_IKE: Final = 1
MAX_PROPOSALS: Final = 255
"""They are numbered in one byte."""
MAX_TRANSFORMS: Final = 512
"""Of one SA payload, all proposals together: far more than any client has reason to offer."""

_SUBSTRUCTURE = struct.Struct("!BxH")
_PROPOSAL = struct.Struct("!BxHBBBB")
_TRANSFORM = struct.Struct("!BxHBxH")
_ATTRIBUTE = struct.Struct("!HH")
_LAST, _MORE_PROPOSALS, _MORE_TRANSFORMS = 0, 2, 3
_SHORT_ATTRIBUTE = 0x8000
_KEY_LENGTH = 14
_READING_ORDER = [
    TransformType.ENCRYPTION,
    TransformType.INTEGRITY,
    TransformType.PRF,
    TransformType.KEY_EXCHANGE,
]


class Transform(msgspec.Struct, frozen=True, gc=False):
    """One algorithm that a proposal offers; `key_bits` is 0 where no key length was given."""

    type: int
    id: int
    key_bits: int = 0

    @property
    def name(self) -> str:
        """The algorithm as server configurations spell it."""
        return transform_name(self.type, self.id, self.key_bits)


class Proposal(msgspec.Struct, frozen=True):
    """One numbered alternative of an SA payload."""

    number: int
    transforms: tuple[Transform, ...]
    protocol: int = PROTOCOL_IKE
    spi: bytes = b""

    @property
    def name(self) -> str:
        """All algorithms in one word, such as "aes128gcm16-prfsha256-x25519"."""
        by_type = sorted(self.transforms, key=_reading_position)
        return "-".join(transform.name for transform in by_type)


def _reading_position(transform: Transform) -> int:
    if transform.type in _READING_ORDER:
        return _READING_ORDER.index(TransformType(transform.type))
    return len(_READING_ORDER) + transform.type


def parse_proposals(body: bytes) -> tuple[Proposal, ...]:
    """Read the body of an SA payload; raises WireError("bad-payload")."""
    proposals: list[Proposal] = []
    transforms_left = MAX_TRANSFORMS
    for start, end in _substructures(body, 0, len(body), _PROPOSAL.size, _MORE_PROPOSALS):
        if len(proposals) == MAX_PROPOSALS:
            raise WireError("bad-payload", f"more than {MAX_PROPOSALS} proposals are offered")
        proposal = _parse_proposal(body, start, end)
        transforms_left -= len(proposal.transforms)
        if transforms_left < 0:
            raise WireError("bad-payload", f"more than {MAX_TRANSFORMS} transforms are offered")
        proposals.append(proposal)
    return tuple(proposals)


def pack_proposals(proposals: Sequence[Proposal]) -> bytes:
    """Write the body of an SA payload; raises struct.error for a field that does not fit."""
    parts: list[bytes] = []
    for left, proposal in zip(reversed(range(len(proposals))), proposals, strict=True):
        count = len(proposal.transforms)
        transforms = b"".join(
            _pack_transform(transform, is_last=position == count)
            for position, transform in enumerate(proposal.transforms, start=1)
        )
        content = proposal.spi + transforms
        parts.append(
            _PROPOSAL.pack(
                _MORE_PROPOSALS if left else _LAST,
                _PROPOSAL.size + len(content),
                proposal.number,
                proposal.protocol,
                len(proposal.spi),
                count,
            )
            + content
        )
    return b"".join(parts)


def _substructures(body: bytes, at: int, end: int, minimum: int, more: int) -> Iterator[tuple[int, int]]:
    """Yield where each substructure begins and ends; proposals and transforms are chained alike."""
    marker = more if at < end else _LAST
    while marker == more:
        if at + minimum > end:
            raise WireError("bad-payload", "an SA payload ends within a proposal or transform")
        marker, length = _SUBSTRUCTURE.unpack_from(body, at)
        if length < minimum or at + length > end:
            raise WireError("bad-payload", f"a proposal or transform cannot have {length} bytes here")
        yield at, at + length
        at += length
    if marker != _LAST or at != end:
        raise WireError("bad-payload", "the chain of proposals or transforms does not end with the payload")


def _parse_proposal(body: bytes, start: int, end: int) -> Proposal:
    _, _, number, protocol, spi_size, count = _PROPOSAL.unpack_from(body, start)
    spi_at = start + _PROPOSAL.size
    transforms_at = spi_at + spi_size
    if transforms_at > end:
        raise WireError("bad-payload", f"the SPI of proposal {number} runs past its end")
    transforms = tuple(
        _parse_transform(body, at, until)
        for at, until in _substructures(body, transforms_at, end, _TRANSFORM.size, _MORE_TRANSFORMS)
    )
    if len(transforms) != count:
        raise WireError("bad-payload", f"proposal {number} says {count} transforms and has {len(transforms)}")
    return Proposal(number, transforms, protocol, body[spi_at:transforms_at])


def _parse_transform(body: bytes, at: int, end: int) -> Transform:
    _, _, transform_type, transform_id = _TRANSFORM.unpack_from(body, at)
    at += _TRANSFORM.size
    key_bits = 0
    while at < end:
        if at + _ATTRIBUTE.size > end:
            raise WireError("bad-payload", "a transform ends within an attribute")
        kind, value = _ATTRIBUTE.unpack_from(body, at)
        at += _ATTRIBUTE.size
        if kind == _KEY_LENGTH | _SHORT_ATTRIBUTE:
            key_bits = value
        elif not kind & _SHORT_ATTRIBUTE:
            at += value
    if at != end:
        raise WireError("bad-payload", "an attribute runs past its transform")
    return Transform(transform_type, transform_id, key_bits)


def _pack_transform(transform: Transform, is_last: bool) -> bytes:
    attributes = _ATTRIBUTE.pack(_KEY_LENGTH | _SHORT_ATTRIBUTE, transform.key_bits) if transform.key_bits else b""
    return (
        _TRANSFORM.pack(
            _LAST if is_last else _MORE_TRANSFORMS,
            _TRANSFORM.size + len(attributes),
            transform.type,
            transform.id,
        )
        + attributes
    )
