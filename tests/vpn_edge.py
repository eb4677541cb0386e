"""A busy engine for the pictures in the documentation: one server down, one draining, and the same at every run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

import msgspec
from fake_engine import DETAIL, EXPLANATION, NOW, STATUS, FakeEngine, series_of

from engine.control.api import Refused
from engine.control.records import (
    Event,
    Explanation,
    FlowRow,
    MessageRow,
    PersistenceRow,
    SessionDetail,
    SessionPage,
    SessionQuery,
    SessionRow,
)
from engine.control.status import EngineStatus, Rates, Series, ServerStatus, Traffic

FAILED_S = 134.0
"""How long ago rras-3 failed, and its clients went to the others."""
DRAINED_S = 60.0
STEP_S = 5.0

_WHY = ("scheduled by weighted-least-connections", "persistence {host}/32", "port following")
_QUIETER = 10
"""The fake engine's rates are more than the slow path carries."""


def _slowed(rates: Rates) -> Rates:
    data = ("packets_in", "bytes_in", "packets_out", "bytes_out")
    return msgspec.structs.replace(rates, **{name: getattr(rates, name) / _QUIETER for name in data})


def _scene() -> EngineStatus:
    services = []
    for service in STATUS.services:
        servers = [_as_it_would_be(server) for server in service.servers]
        services.append(msgspec.structs.replace(service, rates=_slowed(service.rates), servers=servers))
    return msgspec.structs.replace(STATUS, services=services, rates=_slowed(STATUS.rates), last_event=len(_EVENTS))


def _as_it_would_be(server: ServerStatus) -> ServerStatus:
    """A server of the fake engine, made consistent with the others."""
    server = msgspec.structs.replace(server, rates=_slowed(server.rates))
    match server.name:
        case "rras-1":
            return msgspec.structs.replace(server, weighted_share=1.0)
        case "rras-2":
            return msgspec.structs.replace(server, weighted_share=0.0)
        case "rras-3":
            served = Traffic(packets_in=193_000, bytes_in=131_000_000, packets_out=331_000, bytes_out=352_000_000)
            return msgspec.structs.replace(server, new_sessions=1431, traffic=served)
        case _:
            return server


class VpnEdge(FakeEngine):
    """The fake engine with as many sessions as its status tells of, an hour behind it, and things going on."""

    def __init__(self) -> None:
        super().__init__()
        self._rows = list(_rows())
        self._passed_s = 0.0

    def pass_time(self, seconds: float) -> None:
        """Let data pass in the sessions."""
        self._passed_s += seconds

    def status(self) -> EngineStatus:
        return _SCENE

    def series(self, points: int, service: str | None, server: str | None) -> list[Series]:
        every = list(_every_series(points))
        if service is None:
            return every
        return [one for one in every if (one.service, one.server) == (service, server or "")]

    async def sessions(self, query: SessionQuery) -> SessionPage:
        """Take `server:` and `phase:` conditions."""
        conditions = dict(word.split(":") for word in query.filter.split() if ":" in word)
        rows = [
            self._now(row)
            for row in self._rows
            if all(getattr(row, name, None) == value for name, value in conditions.items())
        ]
        rows.sort(key=lambda row: row.age_s, reverse=query.descending)
        window = rows[query.offset : query.offset + query.limit]
        return SessionPage(total=len(self._rows), matched=len(rows), offset=query.offset, rows=window)

    def session(self, number: int) -> SessionDetail:
        row = next((row for row in self._rows if row.id == number), None)
        if row is None:
            raise Refused("not-found", f"there is no session {number} any more")
        return _detail(self._now(row))

    def explain(self, client: str) -> list[Explanation]:
        return [msgspec.structs.replace(EXPLANATION, client=client, sessions=[])]

    def events(self, after: int, before: int, limit: int) -> list[Event]:
        return [event for event in _EVENTS if event.number > after and (not before or event.number < before)][-limit:]

    def _now(self, row: SessionRow) -> SessionRow:
        """A session keeps the pace that its bytes tell of."""
        pace = (self._passed_s / 40) * (0.2 + row.id % 7 / 5)
        traffic = msgspec.structs.replace(
            row.traffic,
            bytes_in=round(row.traffic.bytes_in * (1 + pace / (1 + row.age_s / 60))),
            bytes_out=round(row.traffic.bytes_out * (1 + pace / (1 + row.age_s / 60))),
        )
        return msgspec.structs.replace(row, age_s=row.age_s + self._passed_s, traffic=traffic)


def _load(server: ServerStatus, ago_s: float) -> float:
    """How many sessions a server carried, as part of what it carries now; of rras-3, of what rras-1 does."""
    tide = 0.62 + 0.38 * math.exp(-ago_s / 400) + 0.01 * math.sin(ago_s / 37)
    since_s = max(0.0, FAILED_S - ago_s)
    taken_over = 1 - 0.33 * math.exp(-since_s / 15)
    match server.name:
        case "rras-1":
            return tide * taken_over
        case "rras-2":
            drained = max(0.0, DRAINED_S - ago_s)
            return tide * taken_over * (1.04 - 0.04 * min(1.0, drained / DRAINED_S))
        case "rras-3":
            return 0.67 * tide if ago_s > FAILED_S else 0.0
        case _:
            return 0.9 + 0.1 * math.sin(ago_s / 400)


def _server_series(server: ServerStatus, points: int) -> Series:
    rng = Random(server.name)
    model = _SCENE.services[0].servers[0] if server.name == "rras-3" else server
    loads = [_load(server, STEP_S * (points - 1 - place)) for place in range(points)]
    busy = [load * (0.8 + 0.2 * math.sin(place / 3) + 0.4 * rng.random()) for place, load in enumerate(loads)]
    new = [
        load * model.rates.new_sessions * (0.6 + 0.8 * rng.random()) + max(0.0, load - before) * model.sessions / STEP_S
        for before, load in zip([loads[0], *loads], loads, strict=False)
    ]
    return msgspec.structs.replace(
        series_of(server.service, server.name, 0, points),
        sessions=[round(model.sessions * load) for load in loads],
        new_sessions=[round(one, 2) for one in new],
        packets_in=[round(model.rates.packets_in * one, 1) for one in busy],
        bytes_in=[round(model.rates.bytes_in * one, 1) for one in busy],
        packets_out=[round(model.rates.packets_out * one, 1) for one in busy],
        bytes_out=[round(model.rates.bytes_out * one, 1) for one in busy],
    )


def _every_series(points: int) -> Iterator[Series]:
    totals = []
    for service in _SCENE.services:
        parts = [_server_series(server, points) for server in service.servers]
        yield from parts
        totals.append(_summed(parts, service.name))
    yield from totals
    yield _summed(totals, "")


def _summed(parts: list[Series], service: str) -> Series:
    names = ("sessions", "new_sessions", "packets_in", "bytes_in", "packets_out", "bytes_out")
    sums = {name: [sum(step) for step in zip(*(getattr(one, name) for one in parts), strict=True)] for name in names}
    return msgspec.structs.replace(parts[0], service=service, server="", **sums)


def _rows() -> Iterator[SessionRow]:
    rng, number, age_s = Random("sessions"), 0, 0.0
    left = [server for service in _SCENE.services for server in service.servers for _ in range(server.sessions)]
    while left:
        number += 1
        age_s += 0.4 + 3.0 * rng.random() + age_s / 345
        taking = [one for one in left if age_s > DRAINED_S or one.admin_state == "enabled"]
        server = taking[int(rng.random() * len(taking))]
        left.remove(server)
        host = f"198.51.100.{1 + int(rng.random() * 250)}"
        client = f"{host}:{4500 if number % 3 == 0 else 20_000 + int(rng.random() * 40_000)}"
        if server.service == "partners":
            client = f"[2001:db8:77::{number:x}]:4500"
        weight = math.exp(2.5 * rng.random()) * min(age_s, 9_000)
        phase = "auth" if number == 2 else "moved" if number % 14 == 9 else "established"
        settled = phase != "auth"
        yield SessionRow(
            id=number,
            service=server.service,
            server=server.name,
            client=client,
            phase=phase,
            age_s=age_s,
            idle_s=0.0 if number % 5 else rng.random() * 18,
            traffic=Traffic(bytes_in=round(2_600 * weight), bytes_out=round(6_900 * weight)) if settled else Traffic(),
            path="slow",
            why=_WHY[number % 7 % 3].format(host=host) if server.service != "partners" else "scheduled by round-robin",
            spi_i=f"{rng.getrandbits(64):016x}",
            spi_r=f"{rng.getrandbits(64):016x}" if settled else "",
        )


_LEFT_FLOW = FlowRow(
    client="203.0.113.77:61022",
    port="nat-t",
    source="203.0.113.77:61022",
    path="slow",
    idle_s=221.0,
    traffic=Traffic(packets_in=52_000, bytes_in=11_400_000, packets_out=61_000, bytes_out=38_200_000),
)
"""Where a session came from that moved."""


def _detail(row: SessionRow) -> SessionDetail:
    host, _, port = row.client.rpartition(":")
    began_at = NOW - row.age_s
    first = Traffic(packets_in=1, bytes_in=632, packets_out=1, bytes_out=616)
    sizes = (
        ("IKE_SA_INIT", 0, 0.0, (632, 616)),
        ("IKE_AUTH", 1, 0.2, (2_344, 1_912)),
        ("IKE_AUTH", 2, 0.5, (224, 240)),
    )
    return msgspec.structs.replace(
        DETAIL,
        row=row,
        flows=[
            FlowRow(
                client=f"{host}:{int(port) - 19 if port != '4500' else 500}",
                port="ike",
                source=f"{host}:{int(port) - 19 if port != '4500' else 500}",
                path="slow",
                idle_s=min(row.age_s, 170.0),
                traffic=first,
            ),
            *([_LEFT_FLOW] if row.phase == "moved" else []),
            FlowRow(client=row.client, port="nat-t", source=row.client, path="slow", idle_s=0.0, traffic=row.traffic),
        ],
        persistence=PersistenceRow(service=row.service, client=f"{host}/32", server=row.server, left_s=1_790.0),
        messages=[
            MessageRow(
                at=began_at + after_s + (0.1 if direction == "out" else 0.0),
                direction=direction,
                exchange=exchange,
                message_id=number,
                response=direction == "out",
                size_bytes=size,
            )
            for exchange, number, after_s, pair in sizes
            for direction, size in zip(("in", "out"), pair, strict=True)
        ],
    )


def _events() -> Iterator[Event]:
    rng = Random("events")
    things = [
        (90_000.0, "notice", "started", "engine started with /etc/ikeconsole/config.toml", ""),
        (3_600.0, "notice", "config-applied", "rras-1 max_sessions 0 -> 1500 (by alice)", ""),
        (FAILED_S, "error", "server-down", _DOWN, "rras-3"),
        (DRAINED_S, "notice", "server-state", "always-on-vpn/rras-2: state enabled -> drain (by alice)", "rras-2"),
    ]
    for ago_s in (
        158,
        151,
        147,
        139,
        131,
        128,
        127,
        125,
        124,
        121,
        117,
        112,
        104,
        95,
        83,
        71,
        54,
        48,
        37,
        29,
        22,
        14,
        6,
    ):
        host = f"198.51.100.{1 + int(rng.random() * 250)}"
        server = "rras-1" if ago_s < DRAINED_S or ago_s % 2 else "rras-2"
        client = f"{host}:{20_000 + int(rng.random() * 40_000)}"
        if ago_s in (139, 95, 37):
            text = f"{client} on {server} ended after 1h{ago_s % 60:02}m: deleted; 38 MB in, 121 MB out"
            things.append((float(ago_s), "info", "session-ended", text, server))
        else:
            text = f"{client} on {server} was set up in {170 + ago_s} ms; scheduled by weighted-least-connections"
            things.append((float(ago_s), "info", "session-established", text, server))
    for number, (ago_s, severity, kind, text, server) in enumerate(sorted(things, reverse=True), 1):
        service = "always-on-vpn" if server else ""
        yield Event(
            number=number, at=NOW - ago_s, severity=severity, kind=kind, text=text, service=service, server=server
        )


_DOWN = (
    "always-on-vpn/rras-3 is down: no answer to IKE probe, ping answers; "
    "its clients go to other servers with their next packet"
)
_EVENTS = list(_events())
_SCENE = _scene()
