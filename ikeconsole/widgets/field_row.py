"""One field of a form: its name, its value, what it was or would be, and what is wrong with it."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from ikeconsole.render.columns import printable
from ikeconsole.settings.field_help import CHOICES
from ikeconsole.settings.schema_fields import Field
from ikeconsole.widgets.choice import Choice, Reading

CHANGED_MARK = "●"


class FieldRow(Vertical):
    """One line, and one more for a problem."""

    class Edited(Message):
        """The operator changed the value."""

        def __init__(self, row: FieldRow, value: Any) -> None:
            super().__init__()
            self.row = row
            self.value = value
            """As TOML writes it; None: the default."""

    def __init__(self, field: Field, *, locked: bool) -> None:
        super().__init__()
        self.field = field
        self._editor: Input | Choice | Reading
        if locked:
            self._editor = Reading()
        elif field.choices:
            meanings = CHOICES.get(field.key, {})
            self._editor = Choice(field.label, {choice: meanings.get(choice, "") for choice in field.choices})
        else:
            self._editor = Input(compact=True, placeholder=field.show(field.default), select_on_focus=False)
        self._editor.add_class("editor")
        self._label = Static(classes="label", markup=False)
        self._note = Static(classes="note", markup=False)
        self._problem = Static(classes="problem", markup=False)
        self._problem.display = False
        self._drawn: tuple[str, str, str] | None = None

    @property
    def wrong(self) -> bool:
        """Whether there is something to put right."""
        return self._problem.display

    def compose(self) -> ComposeResult:
        """The line and its problem."""
        with Horizontal(classes="line"):
            yield self._label
            yield self._editor
            yield self._note
        yield self._problem

    def show(self, value: Any, before: Any, problem: str) -> None:
        """Show a value, and a mark if it is not what it was; None stands for the default."""
        field = self.field
        text = field.show(value)
        shown = text if isinstance(self._editor, Input) or value is not None else field.show(field.default)
        match self._editor:
            case Input() as editor if field.read(editor.value) != value:
                with editor.prevent(Input.Changed):
                    editor.value = shown
            case Choice() | Reading() as editor:
                editor.show(printable(shown))
            case _:
                pass
        changed = value != before
        note = "" if value is not None else "required" if field.default is None else "default"
        drawn = (CHANGED_MARK if changed else " ", note, problem)
        if drawn != self._drawn:
            self._drawn = drawn
            self._label.update(f"{drawn[0]} {field.label}", layout=False)
            self._note.update(note, layout=False)
            self._problem.update(f"  ▲ {printable(problem)}")
            self._problem.display = bool(problem)
            self.set_class(changed, "changed")
            self.set_class(bool(problem), "wrong")

    def focus_editor(self) -> None:
        """Begin to edit it."""
        self.screen.set_focus(self._editor)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited(self, self.field.read(event.value)))

    @on(Choice.Changed)
    def _chosen(self, event: Choice.Changed) -> None:
        event.stop()
        self.post_message(self.Edited(self, self.field.read(event.choice.value)))
