"""From an edit to the running configuration: the plan is shown, confirmed and carried out; conflicts are settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.control.api import Refused
from engine.control.calls import Apply, GetConfig, GetSettings, MakePlan, PreviewUndo, Reload, Undo
from engine.control.records import ConfigState, Plan, Settings
from ikeconsole.changes.asking import ask, do
from ikeconsole.client import EngineUnreachable
from ikeconsole.dialogs.conflict import Conflict
from ikeconsole.dialogs.message import Message
from ikeconsole.dialogs.plan import ShowPlan
from ikeconsole.dialogs.reload import ShowReload
from ikeconsole.settings.editing import Editing, changes_between

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp

NOT_APPLIED = "not applied"


async def apply(app: ConsoleApp, editing: Editing, title: str) -> bool:
    """Show what an edit would do, confirm it, and put it in force; whether that was done.

    Runs in a worker, as do the others here: it waits for the operator.
    """
    base, tables = editing.settings.base, editing.tables
    try:
        plan: Plan = await app.link.ask(MakePlan(base=base, tables=tables))
        if plan.problems:
            lines = [f"{problem.key}: {problem.message}" for problem in plan.problems]
            await app.push_screen_wait(Message("Not applied: put this right first", lines))
            return False
        if not plan.changes:
            app.notify("This is what runs already.", title="nothing to apply", markup=False)
            return False
        if not await app.push_screen_wait(ShowPlan(title, plan, "Apply and save")):
            return False
        change = await app.link.ask(Apply(base=base, tables=tables))
    except Refused as refusal:
        if refusal.kind == "conflict":
            await reconcile(app, editing)
        else:
            await app.push_screen_wait(Message(f"{NOT_APPLIED}: {refusal.message}", refusal.details))
        return False
    except EngineUnreachable as error:
        app.notify(str(error), title=NOT_APPLIED, severity="error", timeout=10, markup=False)
        return False
    app.notify(change.done, title="done", markup=False)
    app.look_soon()
    return True


async def reconcile(app: ConsoleApp, editing: Editing) -> bool:
    """Bring an edit onto the configuration that is in force by now; whether that was done.

    A file that was changed on disk is taken in first, if the operator wants that.
    """
    theirs: Settings | None = await ask(app, GetSettings(), NOT_APPLIED)
    if theirs is not None and theirs.base == editing.settings.base and await reload(app):
        theirs = await ask(app, GetSettings(), NOT_APPLIED)
    if theirs is None or theirs.base == editing.settings.base:
        return False
    if not editing.changed or theirs.tables == editing.settings.tables:
        editing.take_over(theirs)
        return True
    changed = changes_between(editing.settings, theirs)
    answer = await app.push_screen_wait(Conflict(changed, editing.collisions(theirs)))
    if answer is None:
        return False
    if isinstance(answer, frozenset):
        editing.merge(theirs, answer)
        app.notify("Your changes are on top now: look at them, then apply again.", markup=False)
    else:
        editing.discard(theirs)
        app.notify("Your changes are dropped.", markup=False)
    return True


async def reload(app: ConsoleApp) -> bool:
    """Show how the file differs from what runs, confirm, and apply the file; whether that was done."""
    state: ConfigState | None = await ask(app, GetConfig(), "not reloaded")
    if state is None:
        return False
    if not state.on_disk_differs:
        app.notify(f"{state.path} has not changed: it is what runs.", title="nothing to reload", markup=False)
        return False
    if not await app.push_screen_wait(ShowReload(state)):
        return False
    return await do(app, Reload(), "not reloaded") is not None


async def undo(app: ConsoleApp) -> bool:
    """Show what going back to the configuration before the last change would do, confirm and do it."""
    plan: Plan | None = await ask(app, PreviewUndo(), "not undone")
    if plan is None or not await app.push_screen_wait(ShowPlan("Undo the last change?", plan, "Undo and save")):
        return False
    return await do(app, Undo(), "not undone") is not None
