"""Why sessions end, as far as a balancer can see it, in words that complete a sentence."""

from __future__ import annotations

from engine.sessions.session import SMALLEST_AUTH_SUCCESS_BYTES, Phase, Session
from engine.wire.header import Exchange

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
    return "nothing was heard of it any more"


def _why_never_established(session: Session) -> str:
    server, messages = session.server.name, session.messages
    answers = [message for message in messages if not message.inward]
    if session.anonymous:
        return f"no IKE message of it was seen, and {server} answered nothing"
    if not answers:
        return f"{server} never answered"
    if session.phase is Phase.COOKIE:
        return f"the client never came back with the cookie that {server} demanded"
    if session.phase is Phase.INIT:
        if answers[-1].size_bytes < SMALLEST_INIT_SUCCESS_BYTES:
            return f"{server} refused it in IKE_SA_INIT"
        return "the client fell silent after IKE_SA_INIT"
    if not any(answer.exchange == Exchange.IKE_AUTH for answer in answers):
        return f"{server} never answered IKE_AUTH"
    if session.auth_response_bytes < SMALLEST_AUTH_SUCCESS_BYTES:
        return f"{server} refused it in IKE_AUTH"
    return f"{server if messages[-1].inward else 'the client'} fell silent during IKE_AUTH"
