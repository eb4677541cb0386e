"""The installed program on a real terminal, with real datagrams: what an operator sees, and what is so."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from running_engine import CLIENT, HOSTS, OTHER_CLIENT, THIRD_CLIENT, VPN, until
from tmux_terminal import BIN, missing, terminal
from vpn_peers import IKE_PORT, NAT_T_PORT, Client, Server, client

from engine.control.records import SessionPage, SessionQuery
from ikeconsole.client import connect

OVERVIEW = r"^SERVICE / SERVER +STATE"
PLACES = {"1": "^SERVICE / SERV", "2": "^CLIENT", "3": "^SERVER ", "4": "^SERVICE ", "5": "^TIME "}
"""The number keys, and what then heads the list."""
CONFIG = f"""\
# The VPN of the head office. Ask Ines before you change the address.
[engine]
control_socket = "DIRECTORY/control.sock"
state_dir = "DIRECTORY/state"   # on the fast disk
log_level = "debug"

[[service]]
name = "vpn"                # as in the tickets
address = "{VPN}"
ike_port = {IKE_PORT}
nat_t_port = {NAT_T_PORT}
source = "snat"
scheduler = "round-robin"   # not by load: see ticket 4711
persistence = "none"

[service.health]
type = "ike"
interval = "300ms"          # the default is too slow here
timeout = "300ms"

# Rack 1
[[service.real_server]]
name = "rras-1"
address = "{HOSTS["a"]}"

# Rack 2, moves in May
[[service.real_server]]
name = "rras-2"
address = "{HOSTS["b"]}"
"""


@pytest.fixture(autouse=True)
def _tmux() -> None:
    """Skip without tmux; continuous integration must have it."""
    if lacking := missing():
        reason = f"tests of the console on a terminal need {', '.join(lacking)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@dataclass(frozen=True, slots=True)
class Site:
    """Real servers that run, clients with tunnels, and a directory with a configuration for them."""

    directory: Path
    text: str
    """The configuration at first."""
    servers: dict[str, Server]
    clients: dict[str, Client]
    nursery: trio.Nursery

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.directory / "config.toml"

    @property
    def control_socket(self) -> Path:
        """Where the engine is reached."""
        return self.directory / "control.sock"

    @property
    def log(self) -> str:
        """What the engine logged."""
        return (self.directory / "state" / "engine.log").read_text()

    async def connected(self, *hosts: str) -> None:
        """Have clients set up a tunnel each."""
        for host in hosts:
            await self.clients[host].connect()

    async def forwards(self) -> None:
        """Require that every tunnel still carries a datagram to the server that has its keys, and back."""
        for one in self.clients.values():
            if one.traffic.packets_out:
                await one.echo()
                assert await one.is_known()

    async def sessions(self) -> SessionPage:
        """The engine's sessions."""
        async with connect(self.control_socket) as engine:
            return await engine.sessions(SessionQuery())

    async def server(self, name: str) -> dict[str, Any]:
        """What the program says of a real server when it is asked for JSON."""
        done = await trio.run_process(
            [str(BIN / "ikeconsole"), "servers", "--json", "--socket", str(self.control_socket)], capture_stdout=True
        )
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return next(row for row in rows if row["name"] == name)

    def engine_pid(self) -> int:
        """The process that listens on the control socket; 0: none does."""
        with socket.socket(socket.AF_UNIX) as asking, suppress(OSError):
            asking.connect(str(self.control_socket))
            pid: int
            pid, _, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return pid
        return 0

    async def stop_engine(self) -> None:
        """End the engine as an operator does without a console."""
        pid = self.engine_pid()
        os.kill(pid, signal.SIGTERM)
        await until(lambda: not runs(pid))


def runs(pid: int) -> bool:
    """Whether there is such a process, and not only what its parent has still to fetch of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@asynccontextmanager
async def site(directory: Path) -> AsyncIterator[Site]:
    """A site with three real servers, of which the configuration knows two; no engine is left behind."""
    text = CONFIG.replace("DIRECTORY", str(directory))
    (directory / "config.toml").write_text(text)
    async with trio.open_nursery() as nursery:
        servers = {name: Server(HOSTS[name]) for name in HOSTS}
        for server in servers.values():
            await server.start(nursery)
        with client(CLIENT, VPN) as first, client(OTHER_CLIENT, VPN) as second, client(THIRD_CLIENT, VPN) as third:
            clients = {one.host: one for one in (first, second, third)}
            made = Site(directory, text, servers, clients, nursery)
            try:
                yield made
            finally:
                if pid := made.engine_pid():
                    os.kill(pid, signal.SIGKILL)
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_day_with_the_console(tmp_path: Path) -> None:
    """A server is added, another drained, sessions are filtered, the theme is changed, and the terminal is lost."""
    async with site(tmp_path) as here, terminal(tmp_path) as (tmux, pane):
        await pane.run("ikeconsole -c config.toml")
        await pane.shows(OVERVIEW, r"rras-1 +● up", r"rras-2 +● up")
        pid = here.engine_pid()

        await here.connected(CLIENT, OTHER_CLIENT)
        await pane.shows(r" 2 sessions ", r"rras-1 +● up +1 ", r"rras-2 +● up +1 ")

        await pane.press("4")
        await pane.shows(rf"^vpn +● up +{VPN} +{IKE_PORT}\+{NAT_T_PORT} ")
        await pane.press("Enter")
        await pane.shows(r"^   scheduler +‹ round-robin ›")
        await pane.press("PageDown")
        await pane.shows("n new")
        await pane.press("n")
        await pane.shows("2 to put right")
        await pane.type("rras-3")
        await pane.shows(r"● name +rras-3", "1 to put right")
        await pane.press("Down")
        await pane.shows(r"^  address  ")
        await pane.type(HOSTS["c"])
        await pane.shows(rf"● address +{HOSTS['c']}")
        await pane.press("C-s")
        await pane.shows("─ Apply to ", rf"\+ vpn/rras-3 {HOSTS['c']}", r"\+4 -0 lines, your comments stay")
        assert here.config.read_text() == here.text, "nothing is written before it is confirmed"
        await pane.press("v")
        await pane.shows(r'\+name = "rras-3"', r'^.*│  name = "rras-2"')
        await pane.press("v")
        await pane.hides("running")
        unfocused = await pane.ground("Apply and save")
        await pane.press("Tab")
        await pane.ground("Apply and save", other_than=unfocused)
        await pane.press("Enter")
        await pane.shows(r"^SERVICE +STATE +ADDRESS", "rras-3")
        added = f'\n[[service.real_server]]\nname = "rras-3"\naddress = "{HOSTS["c"]}"\n'
        assert here.config.read_text() == here.text + added
        await pane.press("3")
        await pane.shows(r"vpn/rras-3 +● up +100 +0 ")
        assert (await here.server("rras-3"))["health"] == "up"

        await pane.press("Home")
        await pane.shows(r"d drain")
        await pane.press("d")
        await pane.shows("─ Drain rras-1 ─", "1 session stays until it ends; new clients go to rras-2")
        await pane.press("y")
        await pane.shows(r"vpn/rras-1 +◐ drain +100 +1 ")
        assert (await here.server("rras-1"))["admin_state"] == "drain"
        rack_1 = f'# Rack 1\n[[service.real_server]]\nname = "rras-1"\naddress = "{HOSTS["a"]}"\n'
        drained = here.text.replace(rack_1, rack_1 + 'state = "drain"\n') + added
        await until(lambda: here.config.read_text() == drained)
        await here.connected(THIRD_CLIENT)
        await pane.shows(r"vpn/rras-1 +◐ drain +100 +1 ", " 3 sessions ")

        await pane.press("2")
        await pane.shows(*(rf"^{host}:\d+ " for host in here.clients))
        await pane.press("/")
        await pane.shows("Tab completes")
        await pane.type("server:rras-1")
        await pane.shows(r"^ 1 of 3 +server:rras-1", rf"^{CLIENT}:\d+ +rras-1 +established")
        await pane.press("Enter")
        only = await pane.hides("Tab completes")
        assert OTHER_CLIENT not in only
        assert THIRD_CLIENT not in only

        night = await pane.ground("PHASE")
        await pane.press("t")
        await pane.shows("─ Theme ─", "Night", "Paper")
        await pane.press("Down")
        await pane.ground("PHASE", other_than=night)
        await pane.press("Enter")
        await pane.hides("─ Theme ─")
        choices = tmux.home / ".config" / "ikeconsole" / "console.toml"
        await until(lambda: choices.exists() and 'theme = "paper"' in choices.read_text())

        before = await here.sessions()
        await tmux.kill()
        await here.forwards()
        again = await tmux.start(160, 48)
        await again.run("ikeconsole -c config.toml")
        await again.shows(OVERVIEW, r"rras-1 +◐ drain +1 ", " 3 sessions ")
        await again.press("2")
        await again.shows(*(rf"^{host}:\d+ " for host in here.clients))
        await again.ground("PHASE", other_than=night)
        assert [row.id for row in (await here.sessions()).rows] == [row.id for row in before.rows]
        assert here.engine_pid() == pid
        await again.press("q")
        await again.is_left_sane()
        assert here.engine_pid() == pid, "an attached console does not stop the engine"


@pytest.mark.trio
async def test_quitting_while_sessions_live_keeps_the_engine_until_it_is_ended(tmp_path: Path) -> None:
    """The shell comes back and forwarding goes on; an attached console shows the engine's end, and says so."""
    async with site(tmp_path) as here, terminal(tmp_path) as (_, pane):
        await pane.run("ikeconsole -c config.toml")
        await pane.shows(OVERVIEW, r"rras-1 +● up")
        await here.connected(CLIENT)
        await pane.shows(r"rras-1 +● up +1 ")
        pid = here.engine_pid()
        await pane.press("q")
        await pane.shows("─ Leave the console ─", "the engine carries 1", r"Keep it running \(b\)")
        await pane.press("Escape")
        await pane.hides("─ Leave the console ─")
        await pane.press("q")
        await pane.shows("─ Leave the console ─")
        await pane.press("Enter")
        assert f"The engine goes on, pid {pid}: `ikeconsole -c config.toml` shows it again" in await pane.is_left_sane()
        await here.forwards()
        await pane.run("ikeconsole -c config.toml")
        await pane.shows(OVERVIEW, r"rras-1 +● up +1 ")
        await here.stop_engine()
        await pane.shows(r"^ ▲ engine lost \d+s ago; this is what it was then")
        await pane.press("q")
        await pane.is_left_sane()


@pytest.mark.trio
async def test_quitting_with_stop_ends_the_engine(tmp_path: Path) -> None:
    """The operator is told what that does to sessions, and nothing is left."""
    async with site(tmp_path) as here, terminal(tmp_path) as (_, pane):
        await pane.run("ikeconsole -c config.toml")
        await pane.shows(OVERVIEW, r"rras-1 +● up")
        await here.connected(CLIENT)
        await pane.shows(r"rras-1 +● up +1 ")
        pid = here.engine_pid()
        await pane.press("q")
        await pane.shows("Stopped, it ends every one of them: their tunnels break at once.")
        await pane.press("s")
        assert "The engine has stopped." in await pane.is_left_sane()
        await until(lambda: not runs(pid))
        assert not here.control_socket.exists()


@pytest.mark.trio
async def test_two_consoles_side_by_side_show_what_either_does(tmp_path: Path) -> None:
    """What one operator drains, the other sees drained without doing anything."""
    async with site(tmp_path) as here, terminal(tmp_path, 161, 24) as (tmux, left):
        await left.run("ikeconsole -c config.toml")
        await left.shows(OVERVIEW, r"rras-2 +● up")
        right = await tmux.split()
        await right.run("ikeconsole -c config.toml")
        await right.shows(OVERVIEW, r"rras-2 +● up")
        await left.press("3")
        await left.shows("vpn/rras-1 +● up", "d drain")
        await left.press("d")
        await left.shows("─ Drain rras-1 ─")
        await left.press("y")
        await left.shows("vpn/rras-1 +◐ drain")
        await right.shows("rras-1 +◐ drain", "rras-2 +● up")
        await right.press("q")
        await right.is_left_sane()
        await left.shows("vpn/rras-1 +◐ drain")
        assert (await here.server("rras-1"))["admin_state"] == "drain"


@pytest.mark.trio
async def test_sizes_change_and_the_log_grows_and_nothing_strays_onto_the_screen(tmp_path: Path) -> None:
    """Every place is drawn at every size, while the engine logs."""
    async with site(tmp_path) as here, terminal(tmp_path, 160, 48) as (_, pane):
        await pane.run("ikeconsole -c config.toml")
        await pane.shows(OVERVIEW, r"rras-2 +● up")
        await here.connected(CLIENT)
        await here.servers["b"].stop()
        await pane.shows(r"^ ▲ vpn/rras-2 is down: ", r"rras-2 +○ down", r"rras-1 +● up +1 ")
        assert "server-down: vpn/rras-2 is down" in here.log
        for key, head in PLACES.items():
            await pane.press(key)
            for columns, lines in ((160, 48), (80, 24), (40, 12), (80, 24), (160, 48)):
                await pane.resize(columns, lines)
                last = r"\? help" if columns == 40 else "q quit"
                clock, keys = rf"\A.{{{columns - 9}}}\d\d:\d\d:\d\d$", rf"\A(.*\n){{{lines - 1}}} 1 .* {last}$"
                await pane.shows(clock, head, keys)
        await here.servers["b"].start(here.nursery)
        await pane.press("1")
        await pane.shows(r"rras-2 +● up")
        assert here.log.encode().count(b"engine.events: ") >= 3
        assert b"rras-2" in pane.written
        assert b"engine.events: " not in pane.written
        assert b"Traceback" not in pane.written
        await pane.press("C-c")
        await pane.shows("─ Leave the console ─")
        await pane.press("s")
        await pane.is_left_sane()


@pytest.mark.trio
async def test_states_are_words_and_can_be_read_whatever_the_terminal_knows(tmp_path: Path) -> None:
    """With 16 colours, 256 or all of them nothing has the colour of its ground; with NO_COLOR all is grey."""
    async with site(tmp_path) as here, terminal(tmp_path) as (_, pane):
        await here.servers["b"].stop()
        await pane.run("ikeconsole engine -c config.toml > log 2>&1 &")
        await until(here.engine_pid)
        for setting in ("COLORTERM=truecolor", "TERM=xterm", "TERM=screen", "TERM=linux"):
            await pane.run(f"clear; {setting} ikeconsole -c config.toml")
            await pane.shows(OVERVIEW, r"rras-1 +● up", r"rras-2 +○ down", "vpn/rras-2 is down")
            colours = await pane.colours()
            assert len({colour for colour, ground in colours}) >= 4, "states have colours"
            assert not {text for (colour, ground), text in colours.items() if text and colour == ground}
            await pane.press("q")
            await pane.is_left_sane()
        await pane.run("clear; NO_COLOR=1 COLORTERM=truecolor ikeconsole -c config.toml")
        await pane.shows(OVERVIEW, r"rras-1 +● up", r"rras-2 +○ down", "vpn/rras-2 is down")
        shades = {shade for pair in await pane.colours() for shade in pair if shade}
        assert {len(set(shade.split(";"))) for shade in shades} == {1}, shades
        await pane.press("q")
        await pane.is_left_sane()
