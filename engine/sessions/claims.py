"""Which sessions an SPI names: one, unless two peers happened to choose the same, or somebody forges it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.sessions.session import Session

CLAIMANTS = 8
"""Whoever floods with a known SPI must not make looking it up slow: more sessions than these it does not lead to."""


class Claims:
    """Sessions by SPI, the first that had it in front: later ones never take it away."""

    def __init__(self) -> None:
        self._first: dict[int, Session] = {}
        self._others: dict[int, list[Session]] = {}

    def __len__(self) -> int:
        return len(self._first)

    def __iter__(self) -> Iterator[int]:
        return iter(self._first)

    def __getitem__(self, spi: int) -> Session:
        return self._first[spi]

    def get(self, spi: int) -> Session | None:
        """The first session that has an SPI."""
        return self._first.get(spi)

    def all(self, spi: int) -> Sequence[Session]:
        """Every session that an SPI leads to, the first in front."""
        first = self._first.get(spi)
        if first is None:
            return ()
        return (first,) if spi not in self._others else (first, *self._others[spi])

    def claim(self, spi: int, session: Session) -> None:
        """Have an SPI lead to a session, too."""
        if self._first.setdefault(spi, session) is session:
            return
        others = self._others.setdefault(spi, [])
        if session not in others and len(others) < CLAIMANTS - 1:
            others.append(session)

    def release(self, spi: int, session: Session) -> None:
        """Have an SPI lead to a session no longer, if it did."""
        others = self._others.get(spi)
        if self._first.get(spi) is not session:
            if others is not None and session in others:
                others.remove(session)
        elif others:
            self._first[spi] = others.pop(0)
        else:
            del self._first[spi]
        if others is not None and not others:
            del self._others[spi]
