"""Which real servers take new sessions, which keep theirs, and what the operator is told."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from msgspec.structs import replace

from engine.policy.eligibility import Ineligible, Standing, keeps_sessions, why_ineligible

WELL = Standing(
    admin_state="enabled",
    health="up",
    weight=100,
    sessions=10,
    max_sessions=0,
    agent_load=None,
    adaptive=False,
)


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
        ({"adaptive": True}, None),
        ({"adaptive": True, "agent_load": 100}, None),
        ({"adaptive": True, "agent_load": 101}, "agent says down"),
        ({"adaptive": True, "agent_load": 102}, "agent says disabled"),
        ({"adaptive": False, "agent_load": 101}, None),
        ({"admin_state": "drain", "health": "down"}, "down"),
        ({"admin_state": "disabled", "health": "down"}, "disabled"),
    ],
)
def test_the_reason_is_the_one_the_operator_needs(change: dict[str, Any], reason: str | None) -> None:
    """One reason a case, and of several the weightiest."""
    assert why_ineligible(replace(WELL, **change)) == reason


def test_sessions_stay_unless_the_server_is_disabled_or_down() -> None:
    """Draining, being full, weight 0 and the load agent's word cut no tunnel."""
    for admin_state, health, weight, sessions, load in product(
        ("enabled", "drain", "disabled"), ("up", "unknown", "down"), (0, 1), (1, 5), (None, 50, 101, 102)
    ):
        standing = Standing(admin_state, health, weight, sessions, 5, load, True)
        assert keeps_sessions(standing.admin_state, standing.health) is not (
            admin_state == "disabled" or health == "down"
        )


def test_a_server_that_may_not_keep_sessions_takes_none() -> None:
    """No state accepts a session only to end it at once."""
    for admin_state, health in product(("enabled", "drain", "disabled"), ("up", "unknown", "down")):
        standing = replace(WELL, admin_state=admin_state, health=health)
        assert keeps_sessions(admin_state, health) or why_ineligible(standing) in {Ineligible.DISABLED, Ineligible.DOWN}
