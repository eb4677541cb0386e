"""Every change the console makes: the engine says what it would do, the operator confirms, the engine does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from engine.control.api import Refused
from engine.control.calls import Call
from engine.control.records import Change, Effect
from ikeconsole.client import EngineUnreachable
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.dialogs.message import Message

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp

R = TypeVar("R")


async def confirm_and_do(
    app: ConsoleApp,
    call: Call[Change],
    *,
    title: str,
    verb: str,
    preview: Call[Effect] | None = None,
    lines: Sequence[str] = (),
) -> Change | None:
    """Confirm a change and make it; None: it was not made, and the operator knows.

    What the change would do is said by the engine, asked for a preview, or else by `lines`.

    Runs in a worker, as it waits for the operator.
    """
    if preview is not None:
        effect = await ask(app, preview, f"{verb}: not possible")
        if effect is None:
            return None
        lines = effect.lines
    if not await app.push_screen_wait(Confirm(title, lines, verb)):
        return None
    return await do(app, call, f"{verb}: not done")


async def do(app: ConsoleApp, call: Call[Change], failed: str) -> Change | None:
    """Make a change and say what was done."""
    change = await ask(app, call, failed)
    if change is not None:
        app.notify(change.done, title="done", markup=False)
        app.look_soon()
    return change


async def ask(app: ConsoleApp, call: Call[R], failed: str) -> R | None:
    """The engine's answer, or None after the operator was told, under the title `failed`, why there is none."""
    try:
        return await app.link.ask(call)
    except Refused as refusal:
        if refusal.details:
            await app.push_screen_wait(Message(failed, [refusal.message, *refusal.details]))
        else:
            app.notify(refusal.message, title=failed, severity="error", timeout=10, markup=False)
    except EngineUnreachable as error:
        app.notify(str(error), title=failed, severity="error", timeout=10, markup=False)
    return None
