"""The program under test: an ikeconsole engine in the lb namespace, and its command line."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec
import tomli_w
import trio

from engine.control.api import Refused
from engine.control.calls import Call, Clear, GetStatus
from engine.control.records import SessionPage, SessionRow
from engine.control.status import EngineStatus, ServerStatus, ServiceStatus
from harness.kernel_flows import KernelFlow, kernel_flows
from harness.namespaces import end, run
from harness.plan import Family
from harness.topology import Node, Topology
from harness.waiting import eventually
from ikeconsole.client import EngineUnreachable, connect

PROGRAM: Sequence[str] = (sys.executable, "-m", "ikeconsole")
TREE = Path(__file__).parents[3]
"""The source tree, so that what is tested is what stands here, installed or not."""

R = TypeVar("R")

Table: TypeAlias = dict[str, Any]
"""A TOML table."""

PROBE_INTERVAL_S = 0.3
PROBE_TIMEOUT_S = 0.3
PROBE_FALL = 2
HEALTH: Table = {
    "type": "ike",
    "interval": f"{PROBE_INTERVAL_S}s",
    "timeout": f"{PROBE_TIMEOUT_S}s",
    "fall": PROBE_FALL,
    "rise": 1,
}


def service_name(family: Family) -> str:
    """The name of the service of that family."""
    return f"vpn-{family}"


def configuration(topology: Topology, source: str, **service_keys: Any) -> Table:
    """A configuration with one service a family, over all servers; `service_keys` go to both services."""
    servers = {name: node for name, node in topology.nodes.items() if name.startswith("rs")}
    return {
        "service": [
            {
                "name": service_name(family),
                "address": topology.vip[family],
                "source": source,
                "health": dict(HEALTH),
                "real_server": [{"name": name, "address": node.addresses[family]} for name, node in servers.items()],
                **service_keys,
            }
            for family in Family
        ]
    }


class Balancer:
    """One engine process after another, all with the same files."""

    def __init__(self, node: Node, directory: Path) -> None:
        self.node = node
        self.log = directory / "engine.log"
        self.config_path = directory / "config.toml"
        self.socket = directory / "control.sock"
        self.state_dir = directory / "state"
        self._process: subprocess.Popen[bytes] | None = None
        self.state_dir.mkdir(parents=True)

    def write(self, config: Table) -> None:
        """Put a configuration on disk."""
        engine = {"control_socket": str(self.socket), "state_dir": str(self.state_dir)}
        self.config_path.write_text(tomli_w.dumps({**config, "engine": engine | config.get("engine", {})}))

    def begin(self, *under: str) -> None:
        """Start the engine with what is on disk, and do not wait for it.

        `under`: a command that starts another, such as `setpriv` with its options.
        """
        assert not self.running
        self._process = self.node.namespace.spawn(
            *under, *PROGRAM, "engine", "-c", str(self.config_path), log=self.log, cwd=TREE
        )

    def start(self, *under: str) -> None:
        """Start the engine, and wait until every server is up."""
        self.begin(*under)
        self.await_ready()

    def start_another(self, *under: str) -> str:
        """Start a second engine with the same files, and wait for its end; raises CommandFailed with what it says."""
        return self.node.namespace.run(*under, *PROGRAM, "engine", "-c", str(self.config_path))

    def await_ready(self) -> None:
        """Wait until every server is up; an engine that does not get there is killed."""
        assert self._process
        try:
            eventually(self._all_up, f"the engine answers, and its servers are up (see {self.log})", timeout_s=20)
        except BaseException:
            end(self._process, signal.SIGKILL)
            self._process = None
            raise

    def hang_up(self) -> None:
        """Make the engine read its configuration again, as systemd does."""
        assert self._process
        self._process.send_signal(signal.SIGHUP)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the engine; its exit status. AssertionError when it had ended by itself."""
        assert self._process
        process, self._process = self._process, None
        crashed = process.poll() is not None
        assert not crashed, f"the engine ended by itself: {self.log.read_text()[-3000:]}"
        return end(process, number)

    @property
    def pid(self) -> int:
        """The process that runs."""
        assert self._process
        return self._process.pid

    def kernel_flows(self) -> list[KernelFlow]:
        """What the engine's XDP program forwards, as the kernel has it."""
        assert self._process
        return kernel_flows(self._process.pid)

    @property
    def running(self) -> bool:
        """Whether an engine was started and not stopped."""
        return self._process is not None

    def close(self) -> None:
        """Stop the engine, if one runs, and have the next one know nothing of it."""
        if self.running:
            self.stop()
        self.forget_state()

    def has_ended(self) -> bool:
        """Whether the engine that was started has ended by itself, or by somebody else's hand."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        return self._process is None

    def down(self, *argv: str, under: Sequence[str] = ()) -> str:
        """What `ikeconsole down` says; raises CommandFailed."""
        command = [*under, *PROGRAM, "down", *argv, "-c", str(self.config_path)]
        return self.node.namespace.run(*command)

    def command(self, *argv: str, check: bool = True) -> str:
        """A command line's standard output; raises CommandFailed unless told not to check."""
        return run([*PROGRAM, *argv, "--socket", str(self.socket)], cwd=TREE, check=check)

    def forget_state(self) -> None:
        """Have the next engine know nothing of those before."""
        for file in self.state_dir.glob("sessions.*"):
            file.unlink()

    def forget_clients(self) -> None:
        """Clear all sessions and persistence, if there are any."""
        for everyone in ("0.0.0.0/0", "::/0"):
            with suppress(Refused, EngineUnreachable):
                self.ask(Clear(client=everyone))

    def ask(self, call: Call[R]) -> R:
        """The engine's answer to a call on its control socket, much sooner than a command line has it."""

        async def asking() -> R:
            async with connect(self.socket) as client:
                return await client.ask(call)

        return trio.run(asking)

    def status(self) -> EngineStatus:
        """The whole engine at this moment."""
        return self.ask(GetStatus())

    def sessions(self, *filters: str) -> list[SessionRow]:
        """`ikeconsole sessions --json`."""
        page = msgspec.json.decode(self.command("sessions", "--json", *filters), type=SessionPage)
        return page.rows

    def service(self, family: Family) -> ServiceStatus:
        """The service of that family."""
        (found,) = [row for row in self.status().services if row.name == service_name(family)]
        return found

    def server(self, family: Family, name: str) -> ServerStatus:
        """A real server of the service of that family."""
        (found,) = [row for row in self.service(family).servers if row.name == name]
        return found

    def _all_up(self) -> bool:
        assert self._process
        assert self._process.poll() is None, f"the engine ended at once: {self.log.read_text()[-3000:]}"
        try:
            status = self.status()
        except EngineUnreachable:
            return False
        servers = [server for service in status.services for server in service.servers]
        return bool(servers) and all(server.health == "up" for server in servers)
