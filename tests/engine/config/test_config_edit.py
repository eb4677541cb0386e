"""Edits say exactly what was asked for, and leave everything else in the file as it was."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from config_strategies import configs, spellings, variations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from netaddr import IPAddress

from engine.config.edit import replace_config, set_server
from engine.config.layout import read_blocks
from engine.config.load import parse
from engine.config.problems import ConfigError
from engine.config.schema import (
    AdminState,
    Config,
    Duration,
    EngineSection,
    Health,
    PrefixLengths,
    RealServer,
    Service,
    Timeouts,
)

TEXT = """\
# Ours, ask Eva before changing it.

[engine]
log_level = 'info'    # quiet

# The one for laptops
[[service]]
name    = "vpn"
address = "192.0.2.1"   # vpn.example
# slow_start = "0s"     # not needed yet
persistence_timeout = "30m"

# The old one
[[service.real_server]]
name = "a"
address = "10.0.0.1"
weight = 100    # of 200

# The new one
[[service.real_server]]
name = "b"
address = "10.0.0.2"

# For next year:
# [[service.real_server]]
# name = "c"
"""


def read(text: str) -> Config:
    return parse(text, Path("x"))


def edited(new: Config) -> list[str]:
    """The lines that go and come when TEXT is changed to say `new`."""
    text = replace_config(TEXT, read(TEXT), new)
    assert read(text) == new
    lines = difflib.unified_diff(TEXT.splitlines(), text.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def with_service(**changes: object) -> Config:
    config = read(TEXT)
    return replace(config, services=[replace(config.services[0], **changes)])


def test_a_value_changes_in_its_line_and_keeps_its_comment() -> None:
    text = set_server(TEXT, "vpn", "a", weight=50)
    assert text == TEXT.replace("weight = 100    # of 200", "weight = 50    # of 200")


def test_a_key_that_is_not_there_comes_below_the_last_one() -> None:
    text = set_server(TEXT, "vpn", "b", state=AdminState.DRAIN)
    assert text == TEXT.replace('"10.0.0.2"\n', '"10.0.0.2"\nstate = "drain"\n')


def test_a_key_comes_below_the_comment_that_shows_it() -> None:
    assert edited(with_service(slow_start_s=Duration(90))) == ['+slow_start = "1m30s"']
    assert '# not needed yet\nslow_start = "1m30s"' in replace_config(
        TEXT, read(TEXT), with_service(slow_start_s=Duration(90))
    )


def test_a_change_to_the_same_changes_nothing() -> None:
    assert set_server(TEXT, "vpn", "a", state=AdminState.ENABLED, weight=100) == TEXT


def test_a_table_that_is_not_there_comes_behind_its_service() -> None:
    config = with_service(health=Health(fall=5), timeouts=Timeouts(half_open_s=Duration(20)))
    added = '\n[service.health]\nfall = 5\n\n[service.timeouts]\nhalf_open = "20s"\n'
    assert replace_config(TEXT, read(TEXT), config) == TEXT.replace('"30m"\n', '"30m"\n' + added)


def test_prefix_lengths_come_as_one_line() -> None:
    config = with_service(persistence_prefix=PrefixLengths(v4=24))
    assert edited(config) == ["+persistence_prefix = {v4 = 24}"]


def test_a_new_server_comes_behind_the_others_and_before_the_commented_example() -> None:
    servers = [*read(TEXT).services[0].real_servers, RealServer(name="z", address=IPAddress("10.0.0.9"), weight=7)]
    new = with_service(real_servers=servers)
    assert edited(new) == ["+[[service.real_server]]", '+name = "z"', '+address = "10.0.0.9"', "+weight = 7", "+"]
    text = replace_config(TEXT, read(TEXT), new)
    assert text.index('"z"') < text.index("# For next year")


def test_a_removed_server_takes_the_comment_above_its_header_along() -> None:
    assert edited(with_service(real_servers=read(TEXT).services[0].real_servers[1:])) == [
        "-# The old one",
        "-[[service.real_server]]",
        '-name = "a"',
        '-address = "10.0.0.1"',
        "-weight = 100    # of 200",
        "-",
    ]


def test_a_removed_last_server_leaves_the_commented_example_in_place() -> None:
    assert edited(with_service(real_servers=read(TEXT).services[0].real_servers[:1])) == [
        "-# The new one",
        "-[[service.real_server]]",
        '-name = "b"',
        '-address = "10.0.0.2"',
        "-",
    ]


def test_a_server_of_the_same_address_is_renamed_in_place() -> None:
    a, b = read(TEXT).services[0].real_servers
    assert edited(with_service(real_servers=[replace(a, name="alpha"), b])) == ['-name = "a"', '+name = "alpha"']


def test_servers_that_change_places_take_their_comments_along() -> None:
    a, b = read(TEXT).services[0].real_servers
    text = replace_config(TEXT, read(TEXT), with_service(real_servers=[b, a]))
    positions = [text.index(part) for part in ("# The new one", '"b"', "# The old one", '"a"', "# For next year")]
    assert positions == sorted(positions)
    assert text.count("#") == TEXT.count("#")


def test_a_new_service_comes_with_all_that_belongs_to_it() -> None:
    added = Service(
        name="second",
        address=IPAddress("192.0.2.2"),
        persistence_prefix=PrefixLengths(v6=64),
        health=Health(rise=3),
        real_servers=[RealServer(name="a", address=IPAddress("10.0.0.1"))],
    )
    config = read(TEXT)
    text = replace_config(TEXT, config, replace(config, services=[*config.services, added]))
    assert read(text).services[1] == added
    assert text.startswith(TEXT[: TEXT.index("# For next year")])


def test_a_text_without_an_engine_table_gets_one() -> None:
    text = "# nothing yet\n"
    assert replace_config(text, Config(), Config(engine=EngineSection(max_sessions=5))) == (
        "# nothing yet\n\n[engine]\nmax_sessions = 5\n"
    )


def test_line_ends_of_another_system_stay() -> None:
    text = set_server(TEXT.replace("\n", "\r\n"), "vpn", "b", weight=3)
    assert text == TEXT.replace('"10.0.0.2"\n', '"10.0.0.2"\nweight = 3\n').replace("\n", "\r\n")


def test_a_value_over_several_lines_stays_whole() -> None:
    text = TEXT + '[service.health]\ntype = "exec"\ncommand = [\n  "/bin/x",  # the probe\n  "[y]",\n]\nfall = 3\n'
    assert set_server(text, "vpn", "a", weight=1) == text.replace("weight = 100 ", "weight = 1 ")


def test_servers_written_in_brackets_are_edited_where_they_stand() -> None:
    servers = 'real_server = [\n  { name = "a", address = "10.0.0.1" }, # A\n]\n'
    text = '[[service]]\nname = "v"\naddress = "192.0.2.1"\n' + servers
    changed = set_server(text, "v", "a", weight=3)
    assert "# A" in changed
    assert read(changed).services[0].real_servers[0].weight == 3


@pytest.mark.parametrize(
    ("service", "server", "message"),
    [
        ("x", "a", 'no service "x": there is vpn'),
        ("vpn", "x", 'vpn has no real server "x": there is a, b'),
    ],
)
def test_an_unknown_server_is_refused_with_those_there_are(service: str, server: str, message: str) -> None:
    with pytest.raises(LookupError) as refused:
        set_server(TEXT, service, server, weight=1)
    assert str(refused.value) == message


def test_a_change_to_something_invalid_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be a whole number from 0 to 65535, not 70000"):
        set_server(TEXT, "vpn", "a", weight=70000)


thorough = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@thorough
@given(configs().flatmap(spellings))
def test_the_blocks_of_any_text_are_that_text(text: str) -> None:
    assert "".join(block.text for block in read_blocks(text)) == text


@thorough
@given(st.data())
def test_any_configuration_can_be_made_of_any_text_of_any_other(data: st.DataObject) -> None:
    old = data.draw(configs())
    new = data.draw(configs() | variations(old))
    text = data.draw(spellings(old))
    assert read(replace_config(text, old, new)) == new


@thorough
@given(st.data())
def test_a_change_of_values_keeps_every_comment(data: st.DataObject) -> None:
    old = data.draw(configs())
    engine = replace(old.engine, max_sessions=data.draw(st.integers(1, 9)))
    services = [
        replace(
            service,
            port_following=data.draw(st.booleans()),
            health=replace(service.health, fall=data.draw(st.integers(1, 9))),
            real_servers=[replace(server, weight=data.draw(st.integers(0, 9))) for server in service.real_servers],
        )
        for service in old.services
    ]
    text = data.draw(spellings(old))
    changed = replace_config(text, old, replace(old, engine=engine, services=services))
    assert [line.partition("# ")[2].strip() for line in changed.splitlines() if "# " in line and "\\" not in line] == [
        line.partition("# ")[2].strip() for line in text.splitlines() if "# " in line and "\\" not in line
    ]
