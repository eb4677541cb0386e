"""What the operator does to a real server, wherever it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.control import calls
from engine.control.status import ProbeRow, ServerStatus
from ikeconsole.changes.asking import ask, confirm_and_do
from ikeconsole.dialogs.weight import Weight
from ikeconsole.render.numbers import round_trip

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp

_STATES = {"enable": "enabled", "drain": "drain", "disable": "disabled"}
"""Which state an action leads to."""

_VERBS = {state: action.capitalize() for action, state in _STATES.items()}


def is_offered(action: str, server: ServerStatus) -> bool:
    """Whether one of these actions would change anything about `server`."""
    return _STATES.get(action) != server.admin_state


async def change_state(app: ConsoleApp, service: str, server: str, state: str) -> None:
    """Enable, drain or disable a real server; runs in a worker, as it waits for the operator."""
    verb = _VERBS[state]
    await confirm_and_do(
        app,
        calls.SetServer(service=service, server=server, state=state),
        title=f"{verb} {server}",
        verb=verb,
        preview=calls.PreviewServer(service=service, server=server, state=state),
    )


async def change_weight(app: ConsoleApp, server: ServerStatus) -> None:
    """Ask for another weight and set it; runs in a worker, as it waits for the operator."""
    weight = await app.push_screen_wait(Weight(server))
    if weight is None or weight == server.weight:
        return
    await confirm_and_do(
        app,
        calls.SetServer(service=server.service, server=server.name, weight=weight),
        title=f"Weight of {server.name}: {server.weight} → {weight}",
        verb="Change",
        preview=calls.PreviewServer(service=server.service, server=server.name, weight=weight),
    )


async def probe_now(app: ConsoleApp, service: str, server: str) -> None:
    """Probe a real server and say what came of it."""
    found: ProbeRow | None = await ask(app, calls.ProbeNow(service=service, server=server), "Probe: not done")
    if found is None:
        return
    took = f" in {round_trip(found.rtt_s)}" if found.rtt_s is not None else ""
    app.notify(
        f"{found.reason}{took}",
        title=f"probe of {server}",
        severity="information" if found.ok else "error",
        markup=False,
    )
    app.look_soon()
