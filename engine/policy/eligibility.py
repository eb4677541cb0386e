"""Whether a real server may take a new session, and whether it may keep those it has."""

from __future__ import annotations

from enum import StrEnum

import msgspec

AGENT_DOWN = 101
"""The load agent's word for a server that is out of order."""
AGENT_DISABLED = 102
"""The load agent's word for a server that its own administrator took out of service."""


class Ineligible(StrEnum):
    """Why a real server takes no new session, in words for the operator."""

    DISABLED = "disabled"
    DRAIN = "drain"
    DOWN = "down"
    AGENT_DOWN = "agent says down"
    AGENT_DISABLED = "agent says disabled"
    NO_WEIGHT = "weight 0"
    FULL = "full"


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What eligibility depends on."""

    admin_state: str
    """enabled, drain or disabled."""
    health: str
    """up, down or unknown."""
    weight: int
    sessions: int
    """In any phase: a half-open one takes a place too."""
    max_sessions: int
    """0: no limit."""
    agent_load: int | None
    adaptive: bool
    """Whether the scheduler listens to the load agent."""


def why_ineligible(server: Standing) -> Ineligible | None:
    """The weightiest reason why the server takes no new session; None: it does.

    A server of unknown health is eligible: otherwise each start of the engine would turn clients away until
    the first verdict, and a service without health check for ever.
    """
    if server.admin_state == "disabled":
        return Ineligible.DISABLED
    if server.health == "down":
        return Ineligible.DOWN
    if server.admin_state == "drain":
        return Ineligible.DRAIN
    if server.adaptive and server.agent_load == AGENT_DOWN:
        return Ineligible.AGENT_DOWN
    if server.adaptive and server.agent_load == AGENT_DISABLED:
        return Ineligible.AGENT_DISABLED
    if server.weight <= 0:
        return Ineligible.NO_WEIGHT
    if server.max_sessions and server.sessions >= server.max_sessions:
        return Ineligible.FULL
    return None


def keeps_sessions(admin_state: str, health: str) -> bool:
    """Whether existing sessions may stay: not on a disabled or down server; draining ends none.

    Nor does the load agent: it steers new sessions, but only a failed health check or the operator may
    cut tunnels that work.
    """
    return admin_state != "disabled" and health != "down"
