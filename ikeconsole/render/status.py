"""The status page: is it up, who is hurt, why, and where the sessions are."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from engine.control.records import EngineStatus, ServerStatus, ServiceStatus
from ikeconsole.render.columns import Column, printable, stacked, table
from ikeconsole.render.numbers import age, grouped, percent, si
from ikeconsole.render.states import ALARM, server_state, service_state

_BAR_CELLS = 10
_EIGHTHS = " ▏▎▍▌▋▊▉"

_COLUMNS: list[Column[ServiceStatus | ServerStatus]] = [
    Column("SERVICE / SERVER", lambda row: _branch(row), flexible=True),
    Column("STATE", lambda row: _state(row), least=10),
    Column("SESS", lambda row: str(row.sessions), right=True, least=5),
    Column("HALF", lambda row: str(row.half_open), right=True),
    Column("NEW", lambda row: si(row.new_sessions), right=True, least=4),
    Column("IN", lambda row: si(row.traffic.bytes_in), right=True, least=4),
    Column("OUT", lambda row: si(row.traffic.bytes_out), right=True, least=4),
    Column("SHARE", lambda row: _share(row), least=_BAR_CELLS + 5),
]


def status(engine: EngineStatus, width: int) -> RenderableType:
    """The whole engine on one page."""
    rows = list(_rows(engine))
    return stacked(
        _headline(engine),
        *(Text(line, "bold red") for line in alarms(engine)),
        Text(""),
        table(_COLUMNS, rows, width) if rows else Text("No service yet: add a [[service]] to the configuration."),
        Text(""),
        *_facts(engine),
    )


def alarms(engine: EngineStatus) -> Iterator[str]:
    """What is wrong: which server or service, since when, why."""
    for service in engine.services:
        for server in service.servers:
            if server.health == "down" and server.admin_state != "disabled":
                since = age(engine.now_at - server.health_since_at)
                reason = printable(server.health_reason)
                yield f"{ALARM} {service.name}/{server.name} down {since}: {reason}"
        if service.state == "down":
            yield f"{ALARM} {service.name}: no real server takes new sessions"


def share_bar(share: float, weighted_share: float) -> str:
    """A server's load; the tick | stands at the share it should have by weight."""
    eighths = round(min(max(share, 0.0), 1.0) * _BAR_CELLS * 8)
    full, part = divmod(eighths, 8)
    bar = ("█" * full + (_EIGHTHS[part] if part else "")).ljust(_BAR_CELLS)
    tick = min(int(weighted_share * _BAR_CELLS), _BAR_CELLS - 1)
    return f"{bar[:tick]}|{bar[tick + 1 :]}" if weighted_share > 0 else bar


def _headline(engine: EngineStatus) -> Text:
    return Text.assemble(
        (printable(engine.host), "bold"),
        f"  {grouped(engine.sessions)} sessions, {grouped(engine.half_open)} half-open",
        f"  up {age(engine.now_at - engine.started_at)}",
        (f"  ikeconsole {printable(engine.version)} pid {engine.pid}", "dim"),
    )


def _facts(engine: EngineStatus) -> Iterator[Text]:
    reason = f": {printable(engine.fast_path_reason)}" if engine.fast_path_reason else ""
    yield Text(f"fast path {engine.fast_path}{reason}", "dim")
    yield Text(
        f"table {percent(engine.sessions, engine.max_sessions)}   "
        f"sockets {percent(engine.open_sockets, engine.max_open_sockets)}   "
        f"flows {grouped(engine.flows)}   memory {si(engine.memory_bytes)}B",
        "dim",
    )
    if engine.evicted:
        yield Text(f"{grouped(engine.evicted)} half-open or sleeping sessions gave way to new ones", "yellow")
    if engine.sockets_taken_back:
        yield Text(
            f"{grouped(engine.sockets_taken_back)} sockets taken back from flows with traffic: "
            "raise the file limit (LimitNOFILE) or max_open_sockets",
            "yellow",
        )
    for service in engine.services:
        if drops := {reason: count for reason, count in service.drops.items() if count}:
            counted = ", ".join(f"{printable(reason)} {grouped(count)}" for reason, count in drops.items())
            yield Text(f"dropped by {service.name}: {counted}", "dim")


def _rows(engine: EngineStatus) -> Iterator[ServiceStatus | ServerStatus]:
    for service in engine.services:
        yield service
        yield from service.servers


def _branch(row: ServiceStatus | ServerStatus) -> Text:
    match row:
        case ServiceStatus():
            return Text(printable(row.name), "bold")
        case ServerStatus():
            return Text.assemble(("· ", "dim"), printable(row.name))


def _state(row: ServiceStatus | ServerStatus) -> Text:
    match row:
        case ServiceStatus():
            return service_state(row)
        case ServerStatus():
            return server_state(row)


def _share(row: ServiceStatus | ServerStatus) -> str:
    match row:
        case ServiceStatus():
            return ""
        case ServerStatus():
            return f"{100 * row.share:3.0f}% {share_bar(row.share, row.weighted_share)}"
