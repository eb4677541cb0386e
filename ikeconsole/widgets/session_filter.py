"""The line in which the operator says which sessions to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, Static

from engine.sessions.filter_line import BadWord, Completion, complete, parse
from ikeconsole.actions import bindings
from ikeconsole.render.columns import printable

PAUSE_S = 0.15
"""How long the operator must stop typing before the list follows."""
LINES_KEPT = 50
MAX_CHARACTERS = 500
HELP = "Tab completes: server: phase: client: vendor: error: spi: why: path: idle> in> pinned"


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which of several words stands in the line in place of the one that was begun."""

    line: str
    """As it was begun."""
    completion: Completion
    number: int

    @property
    def word(self) -> str:
        """The word, with a space after it if nothing can be added to it."""
        word = self.completion.words[self.number]
        return f"{word} " if len(self.completion.words) == 1 and word[-1] not in ":<>!" else word

    @property
    def text(self) -> str:
        """The whole line with it."""
        return self.line[: self.completion.start] + self.word + self.line[self.completion.end :]

    @property
    def cursor(self) -> int:
        """Where the cursor stands behind it."""
        return self.completion.start + len(self.word)


class _Line(Input):
    """Where the line is typed: an input whose Enter is told of in the footer."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "keep")]


class SessionFilter(Vertical):
    """Hidden until it is opened; under the line stands what is wrong with it, or what could come next."""

    BINDINGS = bindings("session_filter")

    class Changed(Message):
        """The list is to follow another filter line, which is valid."""

        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line

    class Closed(Message):
        """The operator is done with the line."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Mapping[str, Sequence[str]] = {}
        """The known values of server and service."""
        self.display = False
        self._before = ""
        self._applied = ""
        self._lines: list[str] = []
        self._recalled = 0
        self._pause: Timer | None = None
        self._choice: _Choice | None = None

    @property
    def input(self) -> Input:
        """The line itself."""
        return self.query_one(Input)

    def compose(self) -> ComposeResult:
        """The line, and what is to be said of it."""
        yield _Line(compact=True, max_length=MAX_CHARACTERS, select_on_focus=False, placeholder="every session")
        yield Static(markup=False)

    def open(self, line: str) -> None:
        """Let the operator change this line."""
        self._before = self._applied = line
        self._recalled = len(self._lines)
        self._choice = None
        self.display = True
        self._write(line, len(line))
        self._explain()
        self.input.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say at once what the line lacks; have the list follow soon."""
        event.stop()
        if not self.display:
            return
        if self._choice is not None and self.input.value != self._choice.text:
            self._choice = None
        self._explain()
        self._stop_waiting()
        self._pause = self.set_timer(PAUSE_S, self._apply)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go back to the list, unless something is wrong with the line."""
        event.stop()
        if problem := _problem(self.input.value):
            self._tell(f"▲ {problem}", wrong=True)
            return
        self._apply()
        line = self.input.value.strip()
        if line and line not in self._lines[-1:]:
            self._lines = [*self._lines[1 - LINES_KEPT :], line]
        self._close()

    def action_leave(self) -> None:
        """Give back what was shown before."""
        self._write(self._before, len(self._before))
        self._apply()
        self._close()

    def action_recall(self, step: int) -> None:
        """An earlier or later line."""
        self._recalled = max(0, min(self._recalled + step, len(self._lines)))
        line = [*self._lines, self._before][self._recalled]
        self._write(line, len(line))

    def action_complete(self, step: int) -> None:
        """Finish the word before the cursor, or try the next word it could become."""
        choice = self._choice
        if choice is None or len(choice.completion.words) == 1:
            line = self.input.value
            completion = complete(line, self.input.cursor_position, self.names)
            if not completion.words:
                return
            choice = _Choice(line, completion, 0 if step > 0 else len(completion.words) - 1)
        else:
            choice = replace(choice, number=(choice.number + step) % len(choice.completion.words))
        self._choice = choice
        self._write(choice.text, choice.cursor)

    def _write(self, line: str, cursor: int) -> None:
        self.input.value = line
        self.input.cursor_position = cursor

    def _apply(self) -> None:
        self._stop_waiting()
        line = self.input.value.strip()
        if line != self._applied and not _problem(line):
            self._applied = line
            self.post_message(self.Changed(line))

    def _close(self) -> None:
        self._stop_waiting()
        self.display = False
        self.post_message(self.Closed())

    def _stop_waiting(self) -> None:
        if self._pause is not None:
            self._pause.stop()
            self._pause = None

    def _explain(self) -> None:
        """Say what is wrong, unless it is only that the word under the cursor is not finished."""
        line, cursor = self.input.value, self.input.cursor_position
        words = self._choice.completion.words if self._choice else complete(line, cursor, self.names).words
        problem = _problem(line)
        if not line.strip():
            self._tell(HELP)
        elif problem is None:
            self._tell("  ".join(words) if self._choice else HELP)
        elif words and problem.start <= cursor <= problem.end:
            self._tell("  ".join(words))
        else:
            self._tell(f"▲ {problem}", wrong=True)

    def _tell(self, text: str, *, wrong: bool = False) -> None:
        said = self.query_one(Static)
        said.update(printable(text))
        said.set_class(wrong, "wrong")


def _problem(line: str) -> BadWord | None:
    try:
        parse(line)
    except BadWord as problem:
        return problem
    return None
