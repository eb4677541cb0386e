"""Why sessions end, as far as a balancer can see it, in words that complete a sentence."""

from __future__ import annotations

from engine.sessions.session import Phase, Session
from engine.wire.header import Exchange, exchange_name
from engine.wire.notifies import Notify

EVICTED = "it gave way to a new session, for the table is full"
CROWDED = "it gave way to newer ones from the same address and port"
RECOGNISED = "it turned out to be part of a known session"
"""Of a nameless stand-in: nothing of the client ended."""

SMALLEST_INIT_SUCCESS_BYTES = 100
"""Proposal, public key and nonce of an IKE_SA_INIT answer never fit into less; an error notify does."""


def how_it_ended(session: Session) -> str:
    """Why a session ends that nobody and nothing ended but client, real server and silence."""
    if session.half_open:
        return _why_never_established(session)
    if session.deleted_s and session.quiet_since_deletion:
        # The answer to the deletion was the last message of all.
        return f"deleted by {session.server.name}" if session.messages[-1].inward else "deleted by the client"
    complaint = session.complaint
    if complaint is not None and complaint.at_s >= session.last_seen_s:
        who = "the client" if complaint.inward else session.server.name
        return f"nothing was heard of it after {who} said {_spelled(complaint.notify)}"
    return "nothing was heard of it any more"


def _why_never_established(session: Session) -> str:
    server, messages = session.server.name, session.messages
    answers = [message for message in messages if not message.inward]
    if not messages:
        return f"no IKE message of it was seen, and {server} answered nothing"
    if not answers:
        return f"{server} never answered"
    if session.phase is Phase.COOKIE:
        return f"the client never came back with the cookie that {server} demanded"
    complaint = session.complaint
    if complaint is not None and not complaint.inward and complaint.at_s >= answers[-1].at_s:
        return f"{server} refused it in {exchange_name(complaint.exchange)}: {_spelled(complaint.notify)}"
    if session.phase is Phase.INIT:
        if answers[-1].size_bytes < SMALLEST_INIT_SUCCESS_BYTES:
            return f"{server} refused it in IKE_SA_INIT"
        return "the client fell silent after IKE_SA_INIT"
    if not any(answer.exchange == Exchange.IKE_AUTH for answer in answers):
        return f"{server} never answered IKE_AUTH"
    if not session.auth_accepted:
        return f"{server} probably refused it in IKE_AUTH: its answer is too small to accept anybody; its log says why"
    return f"{server if messages[-1].inward else 'the client'} fell silent during IKE_AUTH"


def _spelled(notify: Notify) -> str:
    return f"{notify.name}, {notify.meaning}" if notify.meaning else notify.name
