"""A form over one table of the configuration; forms that were opened from one another share one edit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import events, on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.config.problems import Problem
from engine.config.schema import Record
from engine.control.calls import GetSettings
from ikeconsole.actions import bindings
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.render.columns import printable
from ikeconsole.screens.place import Place
from ikeconsole.settings.applying import apply, reconcile
from ikeconsole.settings.editing import Editing, Spot
from ikeconsole.settings.editing import Place as TablePlace
from ikeconsole.settings.field_help import HELP
from ikeconsole.settings.schema_fields import sections
from ikeconsole.snapshot import Snapshot
from ikeconsole.widgets.field_help_pane import FieldHelpPane
from ikeconsole.widgets.field_row import FieldRow
from ikeconsole.widgets.head_line import HeadLine

ROOMY, WIDE = 60, 120
STALE = "The configuration was changed meanwhile: Ctrl+S shows what, and your changes can go on top of it."
FEW_PROBLEMS = 2


class Fields(VerticalScroll, can_focus=False, inherit_bindings=False):
    """The fields of a form below one another; arrows go from one to the next."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "screen.step(-1)", show=False),
        Binding("down", "screen.step(1)", show=False),
        Binding("pageup", "screen.section(-1)", show=False),
        Binding("pagedown", "screen.section(1)", show=False),
    ]


class Form(Place):
    """Every key of one table, with help and problems; a subclass says which table."""

    PLACE = "form"
    BINDINGS = bindings("form")
    AUTO_FOCUS = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-cramped"), (ROOMY, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012 as Textual does
    RECORD: ClassVar[type[Record]]
    HEADER: ClassVar[str]
    """The table's header in the file."""

    def __init__(self, editing: Editing | None = None, place: TablePlace | None = None) -> None:
        super().__init__()
        self.editing = editing
        self.spot = Spot(place) if editing is None or place is None else editing.spot(place)
        self._rows: dict[str, FieldRow] = {}
        self._looked_at = ""
        self._stale = False
        self._drawn = -1
        self._noticed: list[str] = []

    @property
    def unsaved(self) -> bool:
        """Whether something was edited and not applied."""
        return self.editing is not None and self.editing.changed

    @property
    def title_words(self) -> str:
        """What the form is about."""
        raise NotImplementedError

    def find(self, editing: Editing) -> TablePlace | None:
        """Where the table is, in settings that were just read; None: nowhere."""
        raise NotImplementedError

    def lists(self) -> Iterable[Widget]:
        """The lists of tables in this one; they stand under its own fields."""
        return ()

    def draw_lists(self, problems: Sequence[Problem]) -> None:
        """Show the lists, and where in them there are problems."""

    def to_problem(self) -> bool:
        """Go to the first field with a problem; whether there is one in this form."""
        row = next((row for row in self._rows.values() if row.wrong), None)
        if row is not None:
            row.focus_editor()
        return row is not None

    def body(self) -> Iterable[Widget]:
        """The head, what is to be known, the fields, and help."""
        yield HeadLine()
        notice = Static(id="form-notice", markup=False)
        notice.display = False
        yield notice
        with Horizontal(id="form"):
            with Fields(id="fields", disabled=True):
                for number, section in enumerate(sections(self.RECORD, self.HEADER)):
                    yield section_head(section.key)
                    for field in section.fields:
                        row = FieldRow(field, locked=self.console_app.read_only)
                        self._rows[".".join(field.steps)] = row
                        yield row
                    if number == 0:
                        yield from self.lists()
            yield FieldHelpPane()

    def show(self, snapshot: Snapshot) -> None:
        """Draw what was changed since it was drawn, here or in a form that shares the edit."""
        if self.editing is None:
            return
        if self.spot.place is None:
            self.notify(f"{self.title_words} is no longer in the configuration.", severity="warning", markup=False)
            self.app.pop_screen()
        elif self.editing.version != self._drawn:
            self.draw()

    async def look(self) -> None:
        """Read the settings first; then again whenever others came into force."""
        snapshot = self.console_app.snapshot
        if self.editing is None:
            editing = Editing(await self.console_app.link.ask(GetSettings()))
            place = self.find(editing)
            self.editing, self.spot = editing, Spot(None) if place is None else editing.spot(place)
            self.begin()
        elif snapshot and snapshot.status.config_digest not in (self.editing.settings.base, self._looked_at):
            self._looked_at = snapshot.status.config_digest
            theirs = await self.console_app.link.ask(GetSettings())
            if not self.editing.changed or theirs.tables == self.editing.settings.tables:
                self.editing.take_over(theirs)
            else:
                self._stale = theirs.base != self.editing.settings.base
                self.draw()
        if snapshot is not None:
            self.show(snapshot)

    def on_mount(self) -> None:
        """A form that shares an edit has everything already."""
        if self.editing is not None:
            self.begin()

    def begin(self) -> None:
        """Show the values, and put the cursor on the first."""
        if self.spot.place is not None:
            self.query_one(Fields).disabled = False
            self.draw()
            self._first_row.focus_editor()

    def draw(self) -> None:
        """Show every value with its problem."""
        editing, place = self.editing, self.spot.place
        if editing is None or place is None:
            return
        self._drawn = editing.version
        if editing.settings.base == self._looked_at:
            self._stale = False
        problems = editing.problems()
        prefix = editing.key_of(place) + "."
        shown: set[Problem] = set()
        for key, row in self._rows.items():
            own = [problem for problem in problems if problem.key == prefix + key]
            shown.update(own)
            at = (*place, *row.field.steps)
            row.show(editing.value(at), editing.before(at), own[0].message if own else "")
        self.draw_lists(problems)
        self._draw_notice([problem for problem in problems if problem not in shown])
        self._draw_head(len(problems))
        self.refresh_bindings()

    @on(FieldRow.Edited)
    def _edited(self, event: FieldRow.Edited) -> None:
        if self.editing is not None and self.spot.place is not None:
            self.editing.put((*self.spot.place, *event.row.field.steps), event.value)
            self.draw()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Explain what has the focus."""
        self._explain()
        self.refresh_bindings()

    def on_resize(self) -> None:
        """Explain it in the room there is."""
        self._explain()

    def action_step(self, steps: int) -> None:
        """To the next or previous field."""
        if steps > 0:
            self.focus_next("#fields *")
        else:
            self.focus_previous("#fields *")

    def action_section(self, steps: int) -> None:
        """To the first field of the next or previous section."""
        fields = self.query_one(Fields)
        children = list(fields.children)
        here = next((number for number, child in enumerate(children) if child.has_focus_within), 0)
        heads = [number for number, child in enumerate(children) if child.has_class("section")]
        own = max((place for place, head in enumerate(heads) if head <= here), default=0)
        target = heads[max(0, min(own + steps, len(heads) - 1))] + 1
        child = children[target]
        if isinstance(child, FieldRow):
            child.focus_editor()
        else:
            child.focus()
        fields.scroll_to_widget(children[target - 1], top=True, animate=False)

    @work(exclusive=True)
    async def action_apply(self) -> None:
        """Show what the edit would do, and put it in force."""
        editing = self.editing
        if editing is None:
            return
        problems = editing.problems()
        if not editing.changed:
            self.notify("Nothing was changed.", markup=False)
        elif problems:
            text = "is a problem" if len(problems) == 1 else f"are {len(problems)} problems"
            where = "" if self.to_problem() else f" {printable(problems[0].key)}: {printable(problems[0].message)}"
            self.notify(f"There {text} to put right first.{where}", severity="warning", markup=False)
        elif self._stale:
            await reconcile(self.console_app, editing)
            self.draw()
        elif await apply(self.console_app, editing, f"Apply to {self.title_words}?"):
            for screen in reversed(self.app.screen_stack):
                if not isinstance(screen, Form):
                    break
                self.app.pop_screen()
        else:
            self.console_app.catch_up()

    def action_leave(self) -> None:
        """Back to where one came from; what was edited is dropped if the operator says so."""
        if self.unsaved:
            lines = ["They were not applied: nothing of them is in force."]
            self.app.push_screen(Confirm("Drop your changes?", lines, "Drop them"), self._leave)
        else:
            self._leave(True)

    def _leave(self, sure: bool | None) -> None:
        if sure:
            self.app.pop_screen()

    @property
    def _first_row(self) -> FieldRow:
        return next(iter(self._rows.values()))

    def _draw_notice(self, problems: Sequence[Problem]) -> None:
        """What is wrong elsewhere, or has happened meanwhile."""
        lines = [STALE] if self._stale else []
        lines += [printable(f"{problem.key}: {problem.message}") for problem in problems[:FEW_PROBLEMS]]
        if lines != self._noticed:
            self._noticed = lines
            notice = self.query_one("#form-notice", Static)
            notice.display = bool(lines)
            notice.update("\n".join(f"▲ {line}" for line in lines))

    def _draw_head(self, problems: int) -> None:
        """What the form is about, and how far it is from what runs."""
        left = Content.assemble(" ", (printable(self.title_words), "bold"))
        if problems:
            said = Content.styled(f"{problems} to put right ", "$text-error")
        elif self.unsaved:
            said = Content.styled("not applied yet ", "$text-warning")
        else:
            said = Content.styled("as it runs ", "dim")
        self.query_one(HeadLine).say(left, said)

    def _explain(self) -> None:
        focused = self.focused
        row = (
            next((node for node in focused.ancestors_with_self if isinstance(node, FieldRow)), None)
            if focused
            else None
        )
        wide = self.size.width >= WIDE
        pane = self.query_one(FieldHelpPane)
        if row is not None:
            pane.tell(row.field.key, row.field, wide=wide)
        elif focused is not None:
            pane.tell(f"{self.HEADER}.real_server", None, wide=wide)


def section_head(key: str) -> Widget:
    """The heading of a table's fields."""
    title = key.rpartition(".")[2]
    return Static(Content.assemble((title, "bold $text-accent"), "  ", (HELP.get(key, ""), "dim")), classes="section")
