"""Which real servers take new sessions, which keep theirs, and what the operator is told."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from engine.policy.eligibility import Ineligible, keeps_sessions, why_ineligible

WELL: dict[str, Any] = {
    "admin_state": "enabled",
    "health": "up",
    "weight": 100,
    "sessions": 10,
    "max_sessions": 0,
    "agent_load": None,
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"health": "unknown"}, None),
        ({"admin_state": "disabled"}, "disabled"),
        ({"admin_state": "drain"}, "drain"),
        ({"health": "down"}, "down"),
        ({"weight": 0}, "weight 0"),
        ({"max_sessions": 11}, None),
        ({"max_sessions": 10}, "full"),
        ({"max_sessions": 9}, "full"),
        ({"agent_load": 0}, None),
        ({"agent_load": 100}, None),
        ({"agent_load": 101}, "agent says down"),
        ({"agent_load": 102}, "agent says disabled"),
        ({"admin_state": "drain", "health": "down"}, "down"),
        ({"admin_state": "disabled", "health": "down"}, "disabled"),
    ],
)
def test_the_reason_is_the_one_the_operator_needs(change: dict[str, Any], reason: str | None) -> None:
    """One reason a case, and of several the weightiest."""
    assert why_ineligible(**WELL | change) == reason


def test_sessions_stay_unless_the_server_is_disabled_or_down() -> None:
    """Draining cuts no tunnel, nor does anything else that only keeps new sessions away: nobody asks about it."""
    for admin_state, health in product(("enabled", "drain", "disabled"), ("up", "unknown", "down")):
        assert keeps_sessions(admin_state, health) is not (admin_state == "disabled" or health == "down")


def test_a_server_that_may_not_keep_sessions_takes_none() -> None:
    """No state accepts a session only to end it at once."""
    for admin_state, health in product(("enabled", "drain", "disabled"), ("up", "unknown", "down")):
        reason = why_ineligible(**WELL | {"admin_state": admin_state, "health": health})
        assert keeps_sessions(admin_state, health) or reason in {Ineligible.DISABLED, Ineligible.DOWN}
