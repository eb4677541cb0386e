"""The alarm about a flood names where it comes from, whom it hurts, and what helps against this one."""

from __future__ import annotations

from typing import Any

import pytest
from telemetry_world import real_server, service

from engine.config.schema import CookieChallenge
from engine.policy.admission import QUIET_S
from engine.sessions.service import Service
from engine.telemetry.alarms import KINDS, Finding
from engine.telemetry.floods import flood_finding


def flooded(hosts: int, each: int = 1, forged_per_s: int = 0, **settings: Any) -> Service:
    """A service with more half-open sessions than it puts up with, of some addresses."""
    made = service(real_server("a"), cookie_threshold=10, **settings)
    for number in range(hosts * each):
        made.newcomers.enter(number, f"192.0.2.{number % hosts}")
    made.newcomers.challenges_sent += forged_per_s
    made.newcomers.look(made.config, 1.0)
    return made


def found(service: Service) -> Finding:
    (finding,) = flood_finding(service)
    assert finding.kind in KINDS
    assert finding.service == "vpn"
    return finding


def test_without_a_flood_there_is_no_alarm() -> None:
    """Half-open sessions up to the threshold are nothing special."""
    assert list(flood_finding(flooded(10))) == []


def test_an_alarm_lasts_as_long_as_its_flood() -> None:
    """Until a minute was quiet."""
    made = flooded(11)
    for number in range(11):
        made.newcomers.leave(number)
    made.newcomers.look(made.config, QUIET_S)
    assert found(made)
    made.newcomers.look(made.config, 1.0 + QUIET_S)
    assert list(flood_finding(made)) == []


def test_forged_addresses_are_warded_off_and_nothing_is_to_be_done() -> None:
    """Challenges that nobody answers prove them."""
    finding = found(flooded(5, forged_per_s=20_000))
    assert "5 are half-open, and 20 000 messages a second have forged senders" in finding.text
    assert "new clients are asked for a cookie first and get in, tunnels are left in peace" in finding.text
    assert "nothing is to be done here" in finding.remedy


def test_one_address_that_answers_is_named() -> None:
    """No cookie keeps it off, but a limit does."""
    finding = found(flooded(1, each=11))
    assert "11 are half-open, most of them from 192.0.2.0;" in finding.text
    assert "see who 192.0.2.0 is: a lower half_open_per_source" in finding.remedy


def test_many_clients_that_come_back_at_once_are_no_attack() -> None:
    """Nor is a real server that answers slowly."""
    finding = found(flooded(20))
    assert finding.text.startswith("vpn: a flood of new IKE SAs, 20 are half-open;")
    assert "see that the real servers answer" in finding.remedy
    assert "raise cookie_threshold" in finding.remedy


@pytest.mark.parametrize("forged_per_s", [0, 100])
def test_where_no_cookies_are_asked_for_it_says_to_switch_that_on(forged_per_s: int) -> None:
    """Whatever the flood is made of."""
    finding = found(flooded(20, forged_per_s=forged_per_s, cookie_challenge=CookieChallenge.OFF))
    assert "turn new clients away" in finding.text
    assert 'set cookie_challenge = "auto" for vpn' in finding.remedy
