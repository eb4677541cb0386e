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


@pytest.mark.parametrize(
    ("text", "key", "part"),
    [
        ("", "service", "nothing is balanced"),
        (HEAD, "service.vpn.real_server", "every client is refused"),
        (
            HEAD + 'persistence_timeout = "4m"\n' + SERVERS,
            "service.vpn.persistence_timeout",
            "4m is shorter than timeouts.nat_t_idle of 5m",
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
