"""The start of an engine that takes up where the one before ended, whichever way that was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import trio

from engine.acceleration import Acceleration
from engine.events import EventLog
from engine.garbage import uncollected
from engine.net.batches import to_raw
from engine.net.forwarder import Forwarder
from engine.sessions.flow import Flow
from engine.sessions.service import Service
from engine.survival.adoption import Adopted, Adoption
from engine.survival.journal import Kept, Unusable, read_journal
from engine.survival.moment import Moment
from engine.survival.shelf import set_aside
from engine.wording import count, listed, spelled_span

AT_ONCE = 500


async def take_over(
    path: Path,
    forwarder: Forwarder,
    services: Mapping[str, Service],
    acceleration: Acceleration,
    events: EventLog,
) -> Adopted:
    """Take up the sessions of a journal and the flows in the kernel; call before datagrams are forwarded."""
    kept = await trio.to_thread.run_sync(_read, path, events)
    forwarded = await acceleration.find()
    adoption = Adoption(kept, forwarder.table, services, Moment.now(trio.current_time()), forwarded)
    adopted = adoption.adopted
    spare_ports = acceleration.snat_sockets.spare_ports
    lost = 0
    with uncollected():
        for _ in adoption.run():
            await trio.lowlevel.checkpoint()
        for number, flow in enumerate(adopted.flows):
            lost += not _put_in_place(forwarder, flow, spare_ports)
            if number % AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
    for flow, found in adopted.forwarded:
        acceleration.adopt(flow, found)
    for found in adopted.strays:
        acceleration.discard(found)
    if kept.moment is not None or forwarded:
        _tell(adopted, lost, known=kept.moment is not None, events=events)
    return adopted


def _read(path: Path, events: EventLog) -> Kept:
    try:
        kept = read_journal(path)
        trouble = kept.damage
    except Unusable as error:
        kept, trouble = Kept(), str(error)
    except OSError as error:
        events.add("warning", "sessions-unread", f"{path} cannot be read ({error.strerror}): no session is taken up")
        return Kept()
    if trouble:
        _shelve(path, trouble, kept, events)
    return kept


def _shelve(path: Path, trouble: str, kept: Kept, events: EventLog) -> None:
    try:
        where = f"it was set aside as {set_aside(path).name}"
    except OSError as error:
        where = f"it could not be set aside ({error.strerror})"
    used = f"the {count(len(kept.sessions), 'session')} before that {_go(len(kept.sessions))} on"
    follows = used if kept.sessions else "clients whose tunnels do not take the fast path must connect again"
    events.add("warning", "sessions-unusable", f"{path} {trouble}: {where}; {follows}")


def _put_in_place(forwarder: Forwarder, flow: Flow, spare_ports: range) -> bool:
    """Have a flow reach both its ends again; False: with another port towards its real server."""
    listener = forwarder.listeners[flow.service.name, flow.port]
    forwarder.adopt(listener, to_raw(flow.client), flow)
    if not flow.service.is_snat or flow.source is None:
        return True
    # At once, before another flow gets the port: the real server would take the client for one behind another NAT.
    try:
        return forwarder.upstreams.resume(flow, spare_ports)
    except OSError:
        return False


def _tell(adopted: Adopted, lost: int, *, known: bool, events: EventLog) -> None:
    sessions, left_out = adopted.sessions, adopted.left_out
    text = f"{count(sessions, 'session')} {_go(sessions)} on"
    if adopted.forwarded:
        text += f", {count(len(adopted.forwarded), 'flow')} in the kernel all the while"
    if known:
        text += f"; no engine was there for {spelled_span(adopted.gap_s)}"
    if left_out:
        reasons = listed([f"{number} because {reason}" for reason, number in left_out.most_common()])
        text += f"; {count(left_out.total(), 'session')} {'does' if left_out.total() == 1 else 'do'} not: {reasons}"
    if lost:
        text += f"; {count(lost, 'flow')} could not get {'its' if lost == 1 else 'their'} source port back"
    events.add("warning" if left_out or lost else "notice", "sessions-adopted", text)


def _go(sessions: int) -> str:
    return "goes" if sessions == 1 else "go"
