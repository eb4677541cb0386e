"""An engine with a few hundred sessions on loopback, made of the demo's parts; a program of its own.

python -m tests.bench.demo_world DIRECTORY still|busy      prints "ready" when all clients have come
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import trio

from engine.config.load import load
from engine.runtime import serve_forever
from ikeconsole.demo.client import Client, Habits
from ikeconsole.demo.layout import REAL_SERVER_ADDRESSES, Layout, choose_ports, client_addresses
from ikeconsole.demo.responder import Responder, VpnServer

CLIENTS = {"always-on-vpn": 240, "partners": 60}
ARRIVE_WITHIN_S = 3.0
KEEPALIVE_S = 5.0

STILL = Habits(packets_per_s=1e-9, keepalive_s=KEEPALIVE_S, liveness_check_s=3600)
BUSY_STAY_S = (20.0, 180.0)


async def perform(layout: Layout, busy: bool) -> None:
    """Run engine, real servers and clients until cancelled."""
    rng = Random(1)
    async with trio.open_nursery() as nursery:
        for servers in REAL_SERVER_ADDRESSES.values():
            for address in servers.values():
                responder = Responder(address, layout.ike_port, layout.nat_t_port, VpnServer(rng))
                await nursery.start(responder.run)
        await nursery.start(partial(serve_forever, load(layout.config_file), signals=False))
        addresses = client_addresses()
        for service, number in CLIENTS.items():
            for _ in range(number):
                nursery.start_soon(_come_and_go, layout, service, addresses, rng, busy)
        await trio.sleep(ARRIVE_WITHIN_S + 1)
        print("ready", flush=True)


async def _come_and_go(layout: Layout, service: str, addresses: Iterator[str], rng: Random, busy: bool) -> None:
    """Have one client stay for good, or one after the other come, talk, roam and go."""
    await trio.sleep(rng.uniform(0, ARRIVE_WITHIN_S))
    while True:
        habits = Habits(packets_per_s=1, keepalive_s=KEEPALIVE_S, roam_s=rng.choice([15, *[math.inf] * 9]))
        client = Client(layout.entrance(service), [next(addresses)], habits if busy else STILL, rng)
        await client.stay(rng.uniform(*BUSY_STAY_S) if busy else math.inf)


def main() -> None:
    """Run the world that the arguments name."""
    directory, kind = sys.argv[1:]
    layout = Layout(Path(directory), *choose_ports())
    layout.write_configuration()
    trio.run(perform, layout, kind == "busy")


if __name__ == "__main__":
    main()
