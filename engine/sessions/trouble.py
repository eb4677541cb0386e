"""What went wrong in a session, as far as it was said in the clear or can be concluded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engine.wire.header import Exchange
from engine.wire.notifies import Notify

if TYPE_CHECKING:
    from engine.sessions.session import Session

REFUSAL_QUIET_S = 2.0
"""A peer that goes on with EAP after a small IKE_AUTH answer does so within this time, unless a person types."""
AUTH_REFUSED = "IKE_AUTH refused?"
_AUTH_REFUSED_MEANING = (
    "its last answer is too small to accept anybody: probably it refuses the certificate, the credentials or the "
    "identity; its log says which"
)


class Complaint(msgspec.Struct, frozen=True, gc=False):
    """An error that one peer told the other in the clear, where anybody on the way could have put it."""

    at_s: float
    inward: bool
    exchange: int
    notify: Notify


class Trouble(msgspec.Struct, frozen=True):
    """The last thing that went wrong in a session."""

    at_s: float
    inward: bool
    """Said by the client."""
    name: str
    """As RFC and server logs have it; with a question mark where it is only concluded."""
    meaning: str
    """A clause of whoever said it; empty: unknown."""


def last_trouble(session: Session, now_s: float) -> Trouble | None:
    """What went wrong last, if anything did."""
    if auth_refused(session) and now_s - session.last_seen_s >= REFUSAL_QUIET_S:
        return Trouble(session.last_seen_s, False, AUTH_REFUSED, _AUTH_REFUSED_MEANING)
    if (said := session.complaint) is not None:
        return Trouble(said.at_s, said.inward, said.notify.name, said.notify.meaning)
    return None


def auth_refused(session: Session) -> bool:
    """Whether the last message of a session is an IKE_AUTH answer in which no AUTH payload has room."""
    if not session.half_open or not session.packed_messages:
        return False
    last = session.messages[-1]
    return last.exchange == Exchange.IKE_AUTH and last.response and not last.inward and not session.auth_accepted
