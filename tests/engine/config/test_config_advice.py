"""Advice names what is legal and likely not meant, and is silent about a sound configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.advice import advice
from engine.config.load import parse

HEAD = '[[service]]\nname = "vpn"\naddress = "192.0.2.1"\n'
SERVERS = """
[[service.real_server]]
name = "a"
address = "10.0.0.1"
[[service.real_server]]
name = "b"
address = "10.0.0.2"
"""


def advised(text: str) -> list[tuple[str, str]]:
    return [(problem.key, problem.message) for problem in advice(parse(text, Path("x")))]


def test_a_sound_configuration_draws_no_advice() -> None:
    assert advised(HEAD + SERVERS) == []
    assert advised('[engine.metrics]\nlisten = "[::1]:9466"\n' + HEAD + SERVERS) == []


@pytest.mark.parametrize(
    "text",
    [
        'persistence_timeout = "5m"',
        'persistence = "ike-spi"\npersistence_timeout = "1m"',
        'timeouts = { spi_binding = "5m", nat_t_idle = "5m", ike_idle = "30s", half_open = "30s" }',
        'timeouts = { nat_t_idle = "40s", half_open = "5s" }',
        'health = { interval = "30s", fall = 5, timeout = "15s" }',
        'health = { type = "none", interval = "300s" }\nscheduler = "fixed"',
        'cookie_challenge = "off"\nhalf_open_per_source = 0',
        'cookie_challenge = "always"\nhalf_open_per_source = 5',
        "cookie_threshold = 10\nhalf_open_per_source = 11\nhalf_open_limit = 11",
    ],
)
def test_time_spans_that_just_agree_draw_no_advice(text: str) -> None:
    keys = [key for key, _ in advised(f"{HEAD}{text}\n{SERVERS}")]
    assert not [key for key in keys if not key.endswith(("scheduler", "health.type"))]


@pytest.mark.parametrize(
    ("text", "key", "part"),
    [
        ("", "service", "nothing is balanced"),
        (
            '[engine.metrics]\nlisten = "10.0.0.1:9466"\n' + HEAD + SERVERS,
            "engine.metrics.listen",
            "tells everybody who reaches it",
        ),
        (HEAD, "service.vpn.real_server", "every client is refused"),
        (
            HEAD + 'persistence_timeout = "4m"\n' + SERVERS,
            "service.vpn.persistence_timeout",
            "4m is shorter than timeouts.nat_t_idle of 5m",
        ),
        (
            HEAD + 'timeouts.spi_binding = "4m"\n' + SERVERS,
            "service.vpn.timeouts.spi_binding",
            "4m is shorter than timeouts.nat_t_idle of 5m",
        ),
        (
            HEAD + 'timeouts.nat_t_idle = "39s"\n' + SERVERS,
            "service.vpn.timeouts.nat_t_idle",
            "39s is shorter than two NAT keepalives (every 20 s)",
        ),
        (
            HEAD + 'timeouts.ike_idle = "29s"\n' + SERVERS,
            "service.vpn.timeouts.ike_idle",
            "29s is shorter than timeouts.half_open of 30s",
        ),
        (
            HEAD + 'timeouts.half_open = "4s"\n' + SERVERS,
            "service.vpn.timeouts.half_open",
            "4s is over before a client asks again",
        ),
        (
            HEAD + 'health = { interval = "30s", fall = 5, timeout = "16s" }\n' + SERVERS,
            "service.vpn.health.fall",
            "5 probes, one every 30s, notice a dead server after 2m46s",
        ),
        (
            HEAD + 'cookie_challenge = "off"\n' + SERVERS,
            "service.vpn.half_open_per_source",
            'locked out, as long as cookie_challenge is "off"',
        ),
        (
            HEAD + "half_open_per_source = 1000\n" + SERVERS,
            "service.vpn.half_open_per_source",
            "of 1000 can be used up with forged messages before 1000 half-open sessions",
        ),
        (
            HEAD + "half_open_limit = 1000\n" + SERVERS,
            "service.vpn.half_open_limit",
            "of 1000 can be used up with forged messages before 1000 half-open sessions",
        ),
        (
            HEAD + 'cookie_challenge = "off"\nhalf_open_limit = 5000\nhalf_open_per_source = 0\n' + SERVERS,
            "service.vpn.half_open_limit",
            "so that all new clients are locked out, as long as",
        ),
        (HEAD + "port_following = false\n" + SERVERS, "service.vpn.port_following", "no tunnel comes up"),
        (HEAD + 'source = "snat"\n' + SERVERS, "service.vpn.source", "IkeNumEstablishedForInitialQuery"),
        (HEAD + 'scheduler = "fixed"\n' + SERVERS, "service.vpn.scheduler", "give each another weight"),
        (
            HEAD + SERVERS.replace('1"', '1"\nstate = "drain"') + "weight = 0",
            "service.vpn.real_server",
            "none takes new sessions",
        ),
        (HEAD + 'health.type = "none"\n' + SERVERS, "service.vpn.health.type", "dead servers"),
        (HEAD + 'health.command = ["x"]\n' + SERVERS, "service.vpn.health.command", "has no effect"),
    ],
)
def test_what_is_likely_not_meant_is_named(text: str, key: str, part: str) -> None:
    [(found_key, message)] = advised(text)
    assert found_key == key
    assert part in message
