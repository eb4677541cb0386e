"""What differs between two configurations is said in lines that an operator can check one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from config_strategies import configs, variations
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from netaddr import IPAddress

from engine.config.changes import changes
from engine.config.dump import to_short_table
from engine.config.load import read_tables
from engine.config.schema import (
    AdminState,
    Config,
    Duration,
    EngineSection,
    Health,
    HealthKind,
    LogLevel,
    PrefixLengths,
    RealServer,
    Service,
    Source,
)

A, B, C = (RealServer(name=name, address=IPAddress(f"10.0.0.1{number}")) for number, name in enumerate("abc", 1))
VPN = Service(name="vpn", address=IPAddress("203.0.113.10"), real_servers=[A, B, C])
OTHER = Service(name="other", address=IPAddress("203.0.113.11"), real_servers=[A])
CONFIG = Config(services=[VPN, OTHER])


def with_vpn(**settings: object) -> Config:
    return Config(services=[replace(VPN, **settings), OTHER])


@pytest.mark.parametrize(
    ("new", "said"),
    [
        pytest.param(CONFIG, [], id="nothing"),
        pytest.param(
            with_vpn(scheduler="fixed", port_following=False),
            ["vpn port_following: true → false", "vpn scheduler: weighted-least-connections → fixed"],
            id="keys in the order of the file",
        ),
        pytest.param(
            with_vpn(health=Health(interval_s=Duration(90)), persistence_prefix=PrefixLengths(v4=24)),
            ["vpn persistence_prefix.v4: 32 → 24", "vpn health.interval: 5s → 1m30s"],
            id="keys of tables within",
        ),
        pytest.param(
            with_vpn(source=Source.SNAT, snat_addresses=["10.0.9.1", "10.0.9.3-10.0.9.9"]),
            ["vpn source: transparent → snat", "vpn snat_addresses: none → 10.0.9.1, 10.0.9.3-10.0.9.9"],
            id="lists",
        ),
        pytest.param(
            with_vpn(health=Health(type=HealthKind.EXEC, command=["/probe", "a\nb"])),
            ["vpn health.type: ike → exec", "vpn health.command: none → /probe, 'a\\nb'"],
            id="what cannot be printed is escaped",
        ),
        pytest.param(
            Config(engine=EngineSection(log_level=LogLevel.DEBUG), services=[VPN, OTHER]),
            ["engine log_level: info → debug"],
            id="engine",
        ),
        pytest.param(
            with_vpn(real_servers=[A, B, C, RealServer(name="d", address=IPAddress("10.0.0.14"), max_sessions=9)]),
            ["+ vpn/d 10.0.0.14 weight 100 max_sessions 9"],
            id="server added",
        ),
        pytest.param(with_vpn(real_servers=[A, C]), ["- vpn/b 10.0.0.12 weight 100"], id="server removed"),
        pytest.param(
            with_vpn(real_servers=[A, replace(B, name="bee", state=AdminState.DRAIN), C]),
            ["vpn/b: renamed to bee", "vpn/bee state: enabled → drain"],
            id="server renamed and drained",
        ),
        pytest.param(with_vpn(real_servers=[C, A, B]), ["vpn/c: moved to place 1"], id="server moved"),
        pytest.param(
            Config(services=[VPN]), ["- other 203.0.113.11", "- other/a 10.0.0.11 weight 100"], id="service removed"
        ),
        pytest.param(
            Config(services=[replace(OTHER, name="new", address=IPAddress("203.0.113.12")), VPN, OTHER]),
            ["+ new 203.0.113.12", "+ new/a 10.0.0.11 weight 100"],
            id="service added before the others",
        ),
        pytest.param(Config(services=[OTHER, VPN]), ["other: moved to place 1"], id="service moved"),
        pytest.param(with_vpn(name="vpn-2"), ["vpn: renamed to vpn-2"], id="service renamed"),
    ],
)
def test_every_kind_of_change_has_its_words(new: Config, said: list[str]) -> None:
    assert changes(CONFIG, new) == said


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_something_is_said_whenever_something_differs(data: st.DataObject) -> None:
    old = data.draw(configs())
    new = data.draw(st.one_of(st.just(old), configs(), variations(old)))
    said = changes(old, new)
    assert bool(said) == (old != new)
    assert len(set(said)) == len(said)
    assert all(line.isprintable() for line in said)


@settings(deadline=None, max_examples=50)
@given(configs())
def test_any_configuration_survives_as_short_tables_in_json(config: Config) -> None:
    """As a control client gets them and sends them back."""
    assert read_tables(json.loads(json.dumps(to_short_table(config))), Path("x")) == config
