"""The config.toml that comes with ikeconsole works as it stands and documents every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import fields

from engine.config.decode import array_of, table_of
from engine.config.load import load, parse
from engine.config.schema import Agent, Config, EngineSection, Health, Record, Service, Source, Timeouts

FILE = Path(__file__).parents[3] / "config.toml"


def keys_of(cls: type[Record], header: str) -> list[tuple[str, str]]:
    """Every key of the schema with the header of its table."""
    found: list[tuple[str, str]] = []
    for info in fields(cls):
        inner = f"{header}.{info.encode_name}" if header else info.encode_name
        if table := array_of(info) or table_of(info.type):
            found += keys_of(table, inner)
        else:
            found.append((header, info.encode_name))
    return found


def sections() -> dict[str, str]:
    """The first section of each table, comments included."""
    parts = re.split(r"^\[+([a-z_.]+)\]+$", FILE.read_text(), flags=re.MULTILINE)
    found: dict[str, str] = {}
    for header, body in zip(parts[1::2], parts[2::2], strict=True):
        found.setdefault(header, body)
    return found


def test_it_needs_no_privilege() -> None:
    [service] = load(FILE).config.services
    assert service.address.is_loopback()
    assert min(service.ike_port, service.nat_t_port) >= 1024
    assert service.source is Source.SNAT
    assert all(server.address.is_loopback() for server in service.real_servers)


@pytest.mark.parametrize(("header", "key"), keys_of(Config, ""))
def test_every_key_stands_in_it(header: str, key: str) -> None:
    if header == "service.persistence_prefix":
        assert re.search(rf"^persistence_prefix = .*\b{key} = ", sections()["service"], re.MULTILINE)
    else:
        assert re.search(rf"^(# )?{key} = ", sections()[header], re.MULTILINE)


def test_its_example_for_real_use_is_valid() -> None:
    example = FILE.read_text().partition("for real use: Windows")[2]
    lines = [line.removeprefix("#").removeprefix(" ") for line in example.splitlines()[3:]]
    [service] = parse("\n".join(lines), FILE).services
    assert service.source is Source.TRANSPARENT
    assert (service.ike_port, service.nat_t_port) == (500, 4500)
    assert len(service.real_servers) == 2


def test_what_its_comments_call_the_default_is_the_default() -> None:
    """Values are written at their defaults but for those that a machine without VPN servers needs otherwise."""
    config = load(FILE).config
    [service] = config.services
    assert config.engine == EngineSection()
    assert (service.timeouts, service.health, service.agent) == (Timeouts(), Health(), Agent())
    unlike = {"name", "address", "ike_port", "nat_t_port", "source", "real_servers"}
    plain = Service(name="x", address=service.address)
    for info in fields(Service):
        assert info.name in unlike or getattr(service, info.name) == getattr(plain, info.name)
    said = re.findall(r"^(\w+) = (\S+) .*default (\"[^\"]*\"|\w+|\[\])", FILE.read_text(), re.MULTILINE)
    said = [(key, value, default) for key, value, default in said if key not in unlike]
    assert len(said) > 20
    assert [entry for entry in said if entry[1] != entry[2]] == []
