"""What happens in the demo: who connects and how, which real server fails when."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from random import Random
from typing import Final

import trio

from engine.config.load import load
from engine.net.sockets import BindError
from engine.runtime import StartError, serve_forever
from ikeconsole.demo.client import Client, Habits
from ikeconsole.demo.layout import REAL_SERVER_ADDRESSES, Layout, client_addresses
from ikeconsole.demo.responder import Responder, VpnServer

CLIENTS: Final = {"always-on-vpn": 32, "partners": 8}
"""How many are there at a time, of each service."""
FIRST_FAILURE_AFTER_S: Final = 6.0
"""Once everybody has arrived; two failed probes later there is an alarm."""
FAILURE_LASTS_S: Final = 15.0
PEACE_LASTS_S: Final = 10.0
FAILING_IN_TURN: Final = ("rras-2", "rras-3", "gateway-1", "rras-1")

_ARRIVE_WITHIN_S = 4.0
_STAY_S = (15.0, 60.0)
_AWAY_S = (1.0, 4.0)
_ROAM_S = (3.0, 20.0)
_ROAMING_PART = 0.3
_NEW_ADDRESS_PART = 0.5
_PACKETS_PER_S = (1.0, 2.0, 5.0, 10.0, 30.0)
_WINDOWS = (
    bytes.fromhex("1e2b516905991c7d7c96fcbfb587e46100000009"),
    bytes.fromhex("fb1de3cdf341b7ea16b7e5be0855f120"),
    bytes.fromhex("26244d38eddb61b3172a36e3d0cfb819"),
)
_STRONGSWAN = (bytes.fromhex("882fe56d6fd20dbc2251613b2ebe5beb"),)


async def perform(layout: Layout, on_start: Callable[[], None]) -> None:
    """Run the engine with real servers behind it and clients before it, until cancelled.

    `on_start` is called when clients can connect and the control socket answers.

    Raises:
        BindError: a port of a real server is taken.
        StartError: a port of a service is taken, or the control socket cannot be made.
    """
    rng = Random()
    responders = _responders(layout, rng)
    failure: BindError | StartError | None = None
    async with trio.open_nursery() as nursery:
        try:
            for responder in responders.values():
                await nursery.start(responder.run)
            await nursery.start(partial(serve_forever, load(layout.config_file), signals=False))
        except (BindError, StartError) as error:
            failure = error
            nursery.cancel_scope.cancel()
        else:
            on_start()
            nursery.start_soon(bring_trouble, responders)
            addresses = client_addresses()
            for service, count in CLIENTS.items():
                for _ in range(count):
                    nursery.start_soon(_come_and_go, layout, service, addresses, rng)
    if failure is not None:
        raise failure


async def bring_trouble(responders: dict[str, Responder]) -> None:
    """Have one real server after the other fail and come back."""
    await trio.sleep(FIRST_FAILURE_AFTER_S)
    for name in cycle(FAILING_IN_TURN):
        responders[name].fail()
        await trio.sleep(FAILURE_LASTS_S)
        responders[name].restart()
        await trio.sleep(PEACE_LASTS_S)


def draw_habits(rng: Random) -> Habits:
    """Make up how a client behaves: most are Windows, some send big certificates, a few roam."""
    return Habits(
        vendor_ids=rng.choice([_WINDOWS, _WINDOWS, _STRONGSWAN, ()]),
        auth_bytes=rng.choice([350, 900, 1400]),
        packets_per_s=rng.choice(_PACKETS_PER_S),
        keepalive_s=rng.uniform(3, 6),
        liveness_check_s=rng.uniform(3, 6),
        roam_s=rng.uniform(*_ROAM_S) if rng.random() < _ROAMING_PART else math.inf,
    )


def _responders(layout: Layout, rng: Random) -> dict[str, Responder]:
    return {
        name: Responder(
            address,
            layout.ike_port,
            layout.nat_t_port,
            # The partners' gateway is a careful one, so that cookie exchanges are seen as well.
            VpnServer(rng, demands_cookies=service == "partners"),
        )
        for service, servers in REAL_SERVER_ADDRESSES.items()
        for name, address in servers.items()
    }


async def _come_and_go(layout: Layout, service: str, addresses: Iterator[str], rng: Random) -> None:
    """Have one client after the other use a service."""
    await trio.sleep(rng.uniform(0, _ARRIVE_WITHIN_S))
    while True:
        own = [next(addresses)]
        if rng.random() < _NEW_ADDRESS_PART:
            own.append(next(addresses))
        await Client(layout.entrance(service), own, draw_habits(rng), rng).stay(rng.uniform(*_STAY_S))
        await trio.sleep(rng.uniform(*_AWAY_S))
