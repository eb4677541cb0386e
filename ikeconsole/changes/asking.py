"""Every change the console makes: the engine says what it would do, the operator confirms, the engine does it."""

from __future__ import annotations

from asyncio import shield
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from textual.widgets import Input

from engine.control.api import Refused
from engine.control.calls import Call
from engine.control.records import Change, Effect
from ikeconsole.client import EngineUnreachable
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.dialogs.message import Message

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp

R = TypeVar("R")

LATE_S = 2.0
"""How long the operator waits for an answer before it is said that there is none yet."""


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
        effects = await foresee(app, f"{verb}: not possible", preview)
        if effects is None:
            return None
        lines = effects[0].lines
    if not await app.push_screen_wait(Confirm(title, lines, verb)):
        return None
    return await do(app, call, f"{verb}: not done")


async def foresee(app: ConsoleApp, failed: str, *previews: Call[Effect]) -> list[Effect] | None:
    """What the engine says changes would do, or None after the operator was told why there is nothing to confirm.

    An answer that comes late is not put before an operator who has gone on: the next key is not meant for it.
    """
    screen, focused = app.screen, app.focused
    effects: list[Effect] = []
    for preview in previews:
        effect = await ask(app, preview, failed)
        if effect is None:
            return None
        effects.append(effect)
    typing = isinstance(app.focused, Input) and app.focused is not focused
    if app.screen is not screen or typing:
        told = "The engine has answered only now, and you have gone on: press the key again."
        app.notify(told, title=failed, severity="warning", timeout=10, markup=False)
        return None
    return effects


async def do(app: ConsoleApp, call: Call[Change], failed: str) -> Change | None:
    """Make a change and say what was done, even when the place that wanted it is left meanwhile."""
    return await shield(app.run_worker(_do(app, call, failed), group="change").wait())


async def _do(app: ConsoleApp, call: Call[Change], failed: str) -> Change | None:
    change = await ask(app, call, failed)
    if change is not None:
        app.notify(change.done, title="done", markup=False)
        app.look_soon()
    return change


async def ask(app: ConsoleApp, call: Call[R], failed: str) -> R | None:
    """The engine's answer, or None after the operator was told, under the title `failed`, why there is none."""
    late = app.set_timer(LATE_S, lambda: app.notify(f"{call.method}: the engine has not answered yet", markup=False))
    try:
        return await app.link.ask(call)
    except Refused as refusal:
        if refusal.details:
            await app.push_screen_wait(Message(failed, [refusal.message, *refusal.details]))
        else:
            app.notify(refusal.message, title=failed, severity="error", timeout=10, markup=False)
    except EngineUnreachable as error:
        app.notify(str(error), title=failed, severity="error", timeout=10, markup=False)
    finally:
        late.stop()
    return None
