"""A configuration file loads, or says everything that is wrong with it, each with its key."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPAddress

from engine.config import load as load_module
from engine.config.load import load, parse
from engine.config.problems import ConfigError
from engine.config.schema import Config, Duration, FastPath, LogLevel

MINIMAL = """
[[service]]
name = "vpn"
address = "192.0.2.1"
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        parse(text, Path("config.toml"))
    return refused.value.lines()


def test_a_minimal_service_gets_every_default() -> None:
    service = parse(MINIMAL, Path("x")).services[0]
    assert (service.address, service.ike_port, service.nat_t_port) == (IPAddress("192.0.2.1"), 500, 4500)
    assert service.persistence_timeout_s == Duration(1800)
    assert service.timeouts.ike_idle_s == Duration(180)


def test_an_empty_file_is_the_default_configuration() -> None:
    assert parse("", Path("x")) == Config()


def test_loading_keeps_the_text_and_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(MINIMAL)
    loaded = load(path)
    assert (loaded.path, loaded.text) == (path, MINIMAL)
    assert loaded.config == parse(MINIMAL, path)
    assert loaded.digest == hashlib.sha256(MINIMAL.encode()).hexdigest()


def test_values_become_what_the_schema_says() -> None:
    engine = parse('[engine]\nfast_path = "off"\nlog_level = "debug"', Path("x")).engine
    assert (engine.fast_path, engine.log_level) == (FastPath.OFF, LogLevel.DEBUG)


def test_all_problems_of_all_kinds_are_reported_at_once() -> None:
    text = """
statedir = 1
[engine]
log_level = "infos"
control_socket = "run/x"
[[service]]
name = "one"
address = "0.0.0.0"
schedular = "fixed"
persistence_timeout = 30
[[service.real_server]]
name = "a"
address = "10.0.0.1"
weight = -1
[[service]]
name = "two"
ike_port = "500"
[service.health]
type = "tcp"
"""
    assert problems_of(text) == [
        "config.toml:statedir: is no key of the top of the file: remove it, or write one of engine, service",
        'config.toml:engine.log_level: must be one of "debug", "info", "warning", "error", not "infos": '
        "did you mean info?",
        "config.toml:service.one.schedular: is no key of [service]: did you mean scheduler?",
        'config.toml:service.one.persistence_timeout: 30 has no unit: write "30s" for seconds or "30m" for minutes',
        "config.toml:service.one.real_server.a.weight: must be a whole number from 0 to 65535, not -1",
        'config.toml:service.two.address: is missing: write address = "192.0.2.10"',
        'config.toml:service.two.ike_port: must be a whole number from 1 to 65535, not "500": leave the quotes out',
        'config.toml:engine.control_socket: "run/x" depends on where the engine is started: write it from "/" on',
        "config.toml:service.one.address: 0.0.0.0 stands for every address of the machine, and replies must leave "
        "from one: write that address",
        'config.toml:service.two.health.port: is missing: type = "tcp" needs one, for example port = 443',
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("engine = 3", "engine: must be a table, not 3: write [engine] and its keys below"),
        (
            "[service]\nname = 'x'",
            "service: must be a list of tables: write [[service]], in two brackets, above each",
        ),
        ("[health]\nfall = 2", "health: is no key of the top of the file: write [service.health]"),
        (
            "[engine]\ninterval = '5s'",
            "engine.interval: is no key of [engine]: it belongs into [service.health] or [service.agent]",
        ),
        ("[engine]\nmax_sessions = 0", "engine.max_sessions: must be a whole number from 1 to 10000000, not 0"),
        (
            "[engine]\nmax_sessions = true",
            "engine.max_sessions: must be a whole number from 1 to 10000000, not true",
        ),
        ("[engine]\nmax_sessions = 1.5", "engine.max_sessions: must be a whole number from 1 to 10000000, not 1.5"),
        ("[engine]\nstate_dir = 5", 'engine.state_dir: must be text in quotes, not 5: write for example "5"'),
        (
            "[engine]\nfast_path = 'nativ'",
            'engine.fast_path: must be one of "auto", "native", "generic", "off", not "nativ": did you mean native?',
        ),
        (
            MINIMAL + "port_following = 'on'",
            'service.vpn.port_following: must be true or false, not "on"',
        ),
        (
            MINIMAL + "snat_addresses = '10.0.0.1'",
            'service.vpn.snat_addresses: must be a list of texts, not "10.0.0.1": write for example ["one", "two"]',
        ),
        (
            MINIMAL + "snat_addresses = ['10.0.0.1', 7]",
            "service.vpn.snat_addresses: must be a list of texts in quotes, but 7 in it is none",
        ),
        (
            MINIMAL + "persistence_timeout = '8d'",
            'service.vpn.persistence_timeout: must be from 100ms to 7d, not "8d"',
        ),
        (MINIMAL + "timeouts.half_open = '0s'", 'service.vpn.timeouts.half_open: must be from 100ms to 7d, not "0s"'),
        (
            MINIMAL + "slow_start = true",
            'service.vpn.slow_start: must be a duration, not true: write for example "30s"',
        ),
        (
            MINIMAL + "persistence_prefix = { v4 = 33 }",
            "service.vpn.persistence_prefix.v4: must be a whole number from 0 to 32, not 33",
        ),
        (
            MINIMAL + "persistence_prefix = { v6 = 129 }",
            "service.vpn.persistence_prefix.v6: must be a whole number from 0 to 128, not 129",
        ),
        (MINIMAL + "health.fall = 0", "service.vpn.health.fall: must be a whole number from 1 to 100, not 0"),
        (
            "[[service]]\nname = 'x'\naddress = 5",
            'service.x.address: must be an address, not 5: write for example "192.0.2.10"',
        ),
        ("[[service]]\naddress = '10.0.0.1'", 'service[1].name: is missing: write name = "vpn-1"'),
        (
            MINIMAL + "[[service.real_server]]\nname = 'a'\naddress = '10.0.0.1'\nmax_sessions = -1",
            "service.vpn.real_server.a.max_sessions: must be a whole number from 0 to 10000000, not -1",
        ),
    ],
)
def test_a_wrong_key_or_value_says_what_to_write(text: str, problem: str) -> None:
    assert problems_of(text) == [f"config.toml:{problem}"]


def test_a_rule_about_a_value_that_is_wrong_itself_is_left_out() -> None:
    """With a misspelled source nobody can know whether a pool is wanted."""
    text = MINIMAL + 'source = "snatt"\nsnat_addresses = ["192.0.2.20"]'
    assert [line.split(": ")[0] for line in problems_of(text)] == ["config.toml:service.vpn.source"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[engine]\nlog_level = warning",
            'x:2:13: Invalid value: text needs quotes, as in "text"; numbers, true and false need none: '
            "log_level = warning",
        ),
        (
            "a = 1\na = 2",
            "x:2:6: Cannot overwrite a value: the key or table stands twice: remove one: a = 2",
        ),
        (
            "[engine]\nlog_level = info",
            "x:2:16: Expected newline or end of document after a statement: write one KEY = VALUE a line; text "
            "needs quotes around all of it: log_level = info",
        ),
        ('a = "x\nb = 1', "x:1:7: Illegal character '\\n': close the text with \" before the line ends: a = \"x"),
        (
            "a = [1,",
            "x:1:8: Invalid value: the file ends in the middle of it: close the quotes or brackets: a = [1,",
        ),
    ],
)
def test_what_is_not_toml_is_reported_with_its_place(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text, Path("x"))
    assert refused.value.lines() == [line]


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert refused.value.lines() == [f"{path}: does not exist: name a file with -c, or write one with: ikeconsole init"]


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory: name the file in it with -c"):
        load(tmp_path)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not stop root, so the refusal is played."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match="may not be read by this user: run as its owner"):
        load(tmp_path / "config.toml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# ok\nname = '\xff'\n", "is not UTF-8 text at line 2: save it in the encoding UTF-8"),
        (b"\xef\xbb\xbf[engine]\n", "begins with a byte-order mark: save it as UTF-8 without one"),
    ],
)
def test_a_file_in_another_encoding_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert refused.value.lines() == [f"{path}: {message}"]


def test_a_file_beyond_all_measure_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.touch()
    os.truncate(path, load_module.MAX_SIZE_BYTES + 1)
    with pytest.raises(ConfigError, match="is larger than 4 MiB"):
        load(path)


def test_endless_nesting_is_a_problem_and_not_a_crash() -> None:
    with pytest.raises(ConfigError, match="nests brackets too deeply"):
        parse("a = " + "[" * 100_000, Path("x"))


def test_an_endless_number_is_a_problem_and_not_a_crash() -> None:
    with pytest.raises(ConfigError, match="has a number of thousands of digits"):
        parse("a = " + "1" * 5000, Path("x"))


toml_values = st.recursive(
    st.integers() | st.booleans() | st.floats() | st.text(max_size=8) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(["engine", "service", "name", "address", "health", "real_server", "interval", "weight", "x"])


@settings(deadline=None)
@given(st.dictionaries(keys, toml_values | st.lists(st.dictionaries(keys, toml_values, max_size=5), max_size=3)))
def test_any_toml_loads_or_is_a_config_error(table: dict[str, object]) -> None:
    with suppress(ConfigError):
        parse(tomli_w.dumps(table), Path("x"))


@settings(deadline=None)
@given(st.text())
def test_any_text_loads_or_is_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        parse(text, Path("x"))
