"""The status page: is it up, who is hurt, why, and where the sessions are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap

from rich.console import RenderableType
from rich.text import Text

from engine.control.status import EngineStatus, ServerStatus, ServiceStatus
from engine.wording import count
from ikeconsole.render.columns import Column, printable, stacked, table
from ikeconsole.render.facts import challenge_words, is_worth_telling, kernel_words
from ikeconsole.render.numbers import age, grouped, percent, rate, si
from ikeconsole.render.shares import share_bar
from ikeconsole.render.states import ALARM, server_state, service_state

_BAR_CELLS = 10

_COLUMNS: list[Column[ServiceStatus | ServerStatus]] = [
    Column("SERVICE / SERVER", lambda row: _branch(row), flexible=True),
    Column("STATE", lambda row: _state(row), least=10),
    Column("SESS", lambda row: str(row.sessions), right=True, least=5),
    Column("HALF", lambda row: str(row.half_open), right=True),
    Column("NEW/s", lambda row: rate(row.rates.new_sessions), right=True),
    Column("IN b/s", lambda row: si(8 * row.rates.bytes_in), right=True),
    Column("OUT b/s", lambda row: si(8 * row.rates.bytes_out), right=True),
    Column("SHARE", lambda row: _share(row), least=_BAR_CELLS + 5),
]


def status(engine: EngineStatus, width: int) -> RenderableType:
    """The whole engine on one page."""
    rows = list(_rows(engine))
    return stacked(
        _headline(engine),
        *alarms(engine, width),
        Text(""),
        table(_COLUMNS, rows, width) if rows else Text("No service yet: add a [[service]] to the configuration."),
        Text(""),
        *_facts(engine),
    )


def alarms(engine: EngineStatus, width: int) -> Iterator[Text]:
    """What is wrong and for how long; under it what to do."""
    for alarm in engine.alarms:
        since = age(engine.now_at - alarm.since_at)
        style = "bold red" if alarm.severity == "error" else "yellow"
        for start, words in ((f"{ALARM} ", f"{alarm.text} ({since})"), ("  → ", alarm.remedy)):
            yield from (
                Text(line, style)
                for line in wrap(printable(words), width, initial_indent=start, subsequent_indent=" " * len(start))
            )
            style = ""


def _headline(engine: EngineStatus) -> Text:
    return Text.assemble(
        (printable(engine.host), "bold"),
        f"  {count(engine.present, 'session')}, {grouped(engine.half_open)} half-open",
        f", {grouped(engine.idle)} idle" if engine.idle else "",
        f"  up {age(engine.up_s)}",
        (f"  ikeconsole {printable(engine.version)} pid {engine.pid}", "dim"),
    )


def _facts(engine: EngineStatus) -> Iterator[Text]:
    reason = f": {printable(engine.fast_path_reason)}" if engine.fast_path_reason else ""
    carried = f", {kernel_words(engine.kernel)}" if engine.kernel.devices else ""
    yield Text(f"fast path {engine.fast_path}{carried}{reason}", "dim")
    yield Text(
        f"table {percent(engine.sessions, engine.max_sessions)}   "
        f"sockets {percent(engine.open_sockets, engine.max_open_sockets)}   "
        f"flows {grouped(engine.flows)}   memory {si(engine.memory_bytes)}B",
        "dim",
    )
    if engine.evicted:
        yield Text(f"{count(engine.evicted, 'half-open or sleeping session')} gave way to new ones", "yellow")
    if engine.sockets_taken_back:
        yield Text(
            f"{count(engine.sockets_taken_back, 'socket')} taken back from flows with traffic: "
            "raise the file limit (LimitNOFILE) or max_open_sockets",
            "yellow",
        )
    for service in engine.services:
        if is_worth_telling(service.challenge):
            yield Text(f"cookies of {printable(service.name)}: {challenge_words(service.challenge)}", "dim")
        if drops := _counted(service.drops):
            yield Text(f"dropped by {printable(service.name)}: {drops}", "dim")
        if violations := _counted(service.violations):
            yield Text(f"should never happen, but did at {printable(service.name)}: {violations}", "yellow")


def _counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{printable(reason)} {grouped(number)}" for reason, number in numbers.items() if number)


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


def _share(row: ServiceStatus | ServerStatus) -> str | Text:
    match row:
        case ServiceStatus():
            return ""
        case ServerStatus():
            return Text.assemble(f"{100 * row.share:3.0f}% ", share_bar(row.share, row.weighted_share, _BAR_CELLS))
