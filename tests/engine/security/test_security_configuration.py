"""What a configuration file, and who may edit it over the control socket, can make the engine do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running_engine import RunningEngine, Tables, refused, service, world, write_config

from engine import paths
from engine.config.decode import USABLE_NAME
from engine.config.load import load
from engine.config.problems import ConfigError
from engine.metrics.exposition import label

EXEC = {"type": "exec", "command": ["/usr/local/bin/probe", "{address}"]}
MINIMAL = '[[service]]\nname = "vpn"\naddress = "192.0.2.1"\n'


async def apply(engine: RunningEngine, tables: Tables, *, unrestricted: bool = False) -> str:
    settings = engine.operations.settings()
    change = await engine.operations.apply(
        settings.base, settings.tables | tables, summary="", author="bob", unrestricted=unrestricted
    )
    return change.done


@pytest.mark.trio
@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"service": [service(health=EXEC)]}, "service.vpn.health.command"),
        ({"engine": {"control_group": "users"}}, "engine.control_group"),
        ({"engine": {"state_dir": "/etc/cron.d"}}, "engine.state_dir"),
        ({"engine": {"control_socket": "/tmp/control.sock"}}, "engine.control_socket"),
    ],
)
async def test_an_operator_does_not_get_the_rights_of_the_engines_user(
    tmp_path: Path, changed: Tables, key: str
) -> None:
    """Who may drain servers may not have the engine, which may be root's, run programs or let others in."""
    async with world(tmp_path) as w:
        before = w.engine.path.read_text()
        with refused("denied", key):
            await apply(w.engine, changed)
        assert w.engine.path.read_text() == before


@pytest.mark.trio
async def test_the_engines_user_may_set_programs_and_operators_may_keep_them(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await apply(w.engine, {"service": [service(health=EXEC)]}, unrestricted=True)
        await apply(w.engine, {"service": [service(health=EXEC, scheduler="maglev")]})
        await apply(w.engine, {"service": [service(scheduler="maglev")]})
        with refused("denied", "health.command"):
            await w.engine.operations.undo("bob")
        assert "back to" in (await w.engine.operations.undo("root", unrestricted=True)).done


@pytest.mark.trio
async def test_a_summary_is_one_line_that_a_log_can_show(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        settings = w.engine.operations.settings()
        tables = settings.tables | {"service": [service(scheduler="maglev")]}
        summary = "drained\n2026-01-01 ERROR forged\x1b[2J " + "x" * 100_000
        await w.engine.operations.apply(settings.base, tables, summary=summary, author="bob")
        kept = (await w.engine.operations.history(1))[0].summary
        assert kept.isprintable()
        assert kept.startswith("drained 2026-01-01 ERROR forged[2J x")
        assert len(kept) < 1_000


def test_a_file_that_everybody_may_write_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(MINIMAL)
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod o-w"):
        load(file)
    file.chmod(0o664)
    assert load(file).config.services[0].name == "vpn"


@pytest.mark.trio
async def test_a_file_that_everybody_may_write_is_not_reloaded(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        write_config(w.engine.path, service(scheduler="maglev"))
        w.engine.path.chmod(0o666)
        with refused("invalid", "the running configuration stays"):
            await w.engine.operations.reload("tester")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize(
    ("owner", "sudo_uid", "used"),
    [(0, None, True), (65534, None, False), (65534, "65534", True), (65534, "1000", False)],
    ids=["root's", "somebody's", "that of who called sudo", "not that of who called sudo"],
)
def test_a_configuration_that_somebody_left_in_the_directory_is_not_root_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, sudo_uid: str | None, used: bool
) -> None:
    """It can name programs that the engine runs: `cd /tmp; sudo ikeconsole` would run them."""
    (tmp_path / "config.toml").write_text(MINIMAL)
    os.chown(tmp_path / "config.toml", owner, owner)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IKECONSOLE_CONFIG", raising=False)
    monkeypatch.delenv("SUDO_UID", raising=False)
    if sudo_uid is not None:
        monkeypatch.setenv("SUDO_UID", sudo_uid)
    monkeypatch.setattr(paths, "SYSTEM_CONFIG", tmp_path / "system.toml")
    assert paths.find_config() == (Path("config.toml") if used else tmp_path / "system.toml")


NASTY = st.text(
    st.sampled_from([*"ab./$;`\"'\\{}()|&<>*?~#=,: \n\t\r\0", "\x1b", "\x9b", "\u202e", "é"]), min_size=1, max_size=12
)


@given(NASTY)
def test_names_hold_nothing_that_a_shell_a_path_or_a_rule_would_obey(name: str) -> None:
    """Names are completed by shells, stand in metrics, and are given to the operator's own programs."""
    if USABLE_NAME.fullmatch(name):
        assert set(name) <= set("ab.")


@given(NASTY)
def test_a_label_ends_where_it_should(value: str) -> None:
    """Names of network devices are the kernel's, which allows more."""
    shown = label("device", value)
    assert shown.startswith('device="')
    assert shown.endswith('"')
    inside = shown.removeprefix('device="').removesuffix('"')
    assert "\n" not in inside
    assert not inside.replace("\\\\", "").replace('\\"', "").count('"')


@pytest.mark.parametrize("address", ["10.0.0.1; flush ruleset", "10.0.0.1 }", "::1%eth0", "10.0.0.0/8", "$(id)"])
def test_what_is_no_address_never_gets_as_far_as_a_rule(tmp_path: Path, address: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'{MINIMAL}[[service.real_server]]\nname = "a"\naddress = "{address}"\n')
    with pytest.raises(ConfigError, match="is not an IPv4 or IPv6 address"):
        load(file)
