"""Whether a real server may take a new session, and whether it may keep those it has."""

from __future__ import annotations

from enum import StrEnum

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


def why_ineligible(
    admin_state: str, health: str, weight: int, sessions: int, max_sessions: int, agent_load: int | None
) -> Ineligible | None:
    """The weightiest reason why a server takes no new session; None: it does.

    `admin_state` is enabled, drain or disabled; `health` is up, down or unknown; of `sessions` half-open ones take a
    place too, and 0 `max_sessions` are no limit; `agent_load` is None if the scheduler does not listen to the agent.

    A server of unknown health is eligible: otherwise each start of the engine would turn clients away until
    the first verdict, and a service without health check for ever.
    """
    if admin_state == "disabled":
        return Ineligible.DISABLED
    if health == "down":
        return Ineligible.DOWN
    if admin_state == "drain":
        return Ineligible.DRAIN
    if agent_load is not None and agent_load >= AGENT_DOWN:
        return Ineligible.AGENT_DOWN if agent_load == AGENT_DOWN else Ineligible.AGENT_DISABLED
    if weight <= 0:
        return Ineligible.NO_WEIGHT
    if max_sessions and sessions >= max_sessions:
        return Ineligible.FULL
    return None


def keeps_sessions(admin_state: str, health: str) -> bool:
    """Whether existing sessions may stay: not on a disabled or down server; draining ends none.

    Nor does the load agent: it steers new sessions, but only a failed health check or the operator may
    cut tunnels that work.
    """
    return admin_state != "disabled" and health != "down"
