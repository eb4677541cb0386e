"""Asks the load agent on a real server how busy it is, for the adaptive scheduler."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Final

import h11
import trio

from engine.config.schema import Agent
from engine.health.connect import connect, explain

DOWN: Final = 101
DISABLED: Final = 102
_HEADER_BYTES = 8192
_BODY_BYTES = 1024
_READ_BYTES = 4096
_QUOTED_CHARACTERS = 120
_NUMBER = re.compile(rb"\s*(\d{1,3})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class AgentLoad:
    """What the agent said, or why nothing usable came of asking it."""

    load: int | None
    """0 idle .. 100 overloaded, 101 down, 102 disabled; None: not known."""
    reason: str


class _BadAnswerError(Exception):
    """The agent answered, but not with a load."""


async def read_load(address: str, agent: Agent, source: str | None = None) -> AgentLoad:
    """Fetch the agent's page within its timeout; never raises for what the network or the agent does."""
    listener = f"TCP {agent.port}"
    with trio.move_on_after(agent.timeout_s):
        try:
            sock = await connect(address, agent.port, socket.SOCK_STREAM, source=source)
            async with trio.SocketStream(sock) as stream:
                load = _load_in(await _get(stream, address, agent))
        except OSError as error:
            return AgentLoad(None, explain(error, address, listener, source))
        except trio.BrokenResourceError:
            return AgentLoad(None, f"connection reset on {listener}")
        except h11.ProtocolError as error:
            return AgentLoad(None, f"the agent speaks no valid HTTP: {str(error)[:_QUOTED_CHARACTERS]}")
        except _BadAnswerError as error:
            return AgentLoad(None, str(error))
        return AgentLoad(load, _meaning(load))
    return AgentLoad(None, f"no answer in {agent.timeout_s:g}s")


async def _get(stream: trio.SocketStream, address: str, agent: Agent) -> bytes:
    """Return the body of a 200 answer; raises _BadAnswerError, h11.ProtocolError, BrokenResourceError."""
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEADER_BYTES)
    host = f"[{address}]" if ":" in address else address
    request = h11.Request(
        method="GET",
        target=agent.path,
        headers=[("Host", f"{host}:{agent.port}"), ("Connection", "close"), ("User-Agent", "ikeconsole")],
    )
    await stream.send_all((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    body = b""
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(await stream.receive_some(_READ_BYTES))
            case h11.Response(status_code=status) if status != 200:
                raise _BadAnswerError(f"the agent answers {agent.path} with HTTP status {status}")
            case h11.Data(data=data):
                body += data
                if len(body) > _BODY_BYTES:
                    raise _BadAnswerError(f"the agent's answer is longer than {_BODY_BYTES} bytes")
            case h11.EndOfMessage():
                return body


def _load_in(body: bytes) -> int:
    """Read the number in a body; raises _BadAnswerError for anything but 0..102."""
    number = _NUMBER.fullmatch(body)
    if number is None or int(number[1]) > DISABLED:
        shown = body[:20].decode("ascii", "replace")
        raise _BadAnswerError(f"the agent's answer is {shown!r}, not a number from 0 to {DISABLED}")
    return int(number[1])


def _meaning(load: int) -> str:
    match load:
        case 101:
            return "the agent says down"
        case 102:
            return "the agent says disabled"
        case _:
            return f"load {load}"
