"""One question to the engine, and its failures as exit codes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from engine.control.api import Refused
from ikeconsole.client import ControlClient, EngineUnreachable, connect
from ikeconsole.exits import Exit, Failure
from ikeconsole.locate import control_socket

R = TypeVar("R")


def ask(options: Namespace, question: Callable[[ControlClient], Awaitable[R]], *, invalid: Exit = Exit.FAILED) -> R:
    """The engine's answer; raises `Failure`, with the code `invalid` where the engine calls the request invalid."""
    path = control_socket(options)

    async def asking() -> R:
        async with connect(path) as client:
            return await question(client)

    try:
        return trio.run(asking)
    except EngineUnreachable as error:
        raise Failure(Exit.UNREACHABLE, str(error)) from error
    except Refused as error:
        match error.kind:
            case "denied":
                code = Exit.NO_RIGHT
            case "invalid":
                code = invalid
            case _:
                code = Exit.FAILED
        raise Failure(code, error.message, error.details) from error
