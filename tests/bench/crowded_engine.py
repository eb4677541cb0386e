"""An engine whose table is full of sessions that nobody sent a datagram for; a program of its own.

python -m tests.bench.crowded_engine CONFIGURATION SESSIONS      prints "ready" when they are there
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import trio

from engine.config.load import load
from engine.operations import Operations
from engine.runtime import serve_forever
from engine.sessions import keys
from engine.sessions.flow import Port
from engine.sessions.session import Phase

CONFIGURATION = """\
[engine]
control_socket = "{directory}/control.sock"
state_dir = "{directory}"
fast_path = "off"
max_sessions = 200_000

[[service]]
name = "crowded"
address = "127.0.0.13"
ike_port = {ike_port}
nat_t_port = {nat_t_port}
source = "snat"
timeouts = {{ half_open = "1d", nat_t_idle = "1d", spi_binding = "1d" }}

[service.health]
type = "none"
"""
REAL_SERVER = """
[[service.real_server]]
name = "rras-{number}"
address = "127.0.0.{number}"
"""
SERVERS = (1, 2, 3, 4)
_PRIME = 7_919
"""What numbers are multiplied by to have them in another order."""


def write_configuration(directory: Path, ike_port: int, nat_t_port: int) -> Path:
    """Write a configuration of one service with a few real servers."""
    path = directory / "config.toml"
    text = CONFIGURATION.format(directory=directory, ike_port=ike_port, nat_t_port=nat_t_port)
    path.write_text(text + "".join(REAL_SERVER.format(number=number) for number in SERVERS))
    return path


def fill(operations: Operations, sessions: int) -> None:
    """Open established sessions, whose first in any order is another than in the order before."""
    table = operations._forwarder.table
    (service,) = operations._deployment.services.values()
    now_s = trio.current_time()
    for number in range(sessions):
        place = number * _PRIME % sessions
        # The first hundred differ: what they come first by is a tie among all.
        server = service.servers[f"rras-{SERVERS[-1] if number < 100 else SERVERS[number % 4]}"]
        why = "following port 500" if number >= 200 and number % 10 == 5 else "scheduled by weighted-least-connections"
        host = f"10.{place >> 16}.{place >> 8 & 255}.{place & 255}"
        session = table.open(service, server, host, why, now_s - number)
        flow = table.add_flow(session, Port.NAT_T, (host, 4500), now_s)
        flow.last_in_s = flow.last_out_s = now_s - place / 100
        flow.bytes_in, flow.bytes_out = 1_000 * place, 1_000 * (place * 31 % sessions)
        keys.bind_spis(session, number + 1, number + 1 << 20)
        table.set_phase(session, Phase.ESTABLISHED)


async def perform(configuration: Path, sessions: int) -> None:
    """Run the engine until cancelled."""
    async with trio.open_nursery() as nursery:
        operations = await nursery.start(partial(serve_forever, load(configuration), signals=False))
        fill(operations, sessions)
        print("ready", flush=True)


if __name__ == "__main__":
    trio.run(perform, Path(sys.argv[1]), int(sys.argv[2]))
