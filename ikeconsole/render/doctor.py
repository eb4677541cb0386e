"""What the doctor says, as people read it: in groups, each thing with glyph and word, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap

from rich.text import Text

from engine.doctor.diagnosis import FAIL, OK, WARN, Diagnosis
from ikeconsole.render.columns import printable
from ikeconsole.render.states import ALARM, TERMINAL

_STATES = {
    OK: ("● ok", TERMINAL.up),
    WARN: (f"{ALARM} warn", TERMINAL.warning),
    FAIL: ("✕ fail", TERMINAL.error),
}
_INDENT = "  "
_STATE_CELLS = 8
_FAR = _INDENT + " " * _STATE_CELLS


def report(diagnoses: Sequence[Diagnosis], width: int) -> Text:
    """All of it in lines of at most `width` cells; a command is not cut, so that it can be copied."""
    lines: list[Text] = []
    for group, of_group in groupby(diagnoses, key=lambda one: one.group):
        lines.append(Text(group, "bold"))
        for diagnosis in of_group:
            lines += _entry(diagnosis, width)
        lines.append(Text())
    return Text("\n").join(lines)


def tally(diagnoses: Sequence[Diagnosis]) -> str:
    """How it stands, in one line."""
    states = [diagnosis.state for diagnosis in diagnoses]
    counts = ", ".join(f"{states.count(state)} {state}" for state in (FAIL, WARN, OK) if state in states)
    if FAIL in states:
        return f"{counts}: clients are hurt by what fails"
    return f"{counts}: {'it works, and could do better' if WARN in states else 'all is well'}"


def _entry(diagnosis: Diagnosis, width: int) -> Iterator[Text]:
    word, style = _STATES[diagnosis.state]
    about = f"{diagnosis.check} {diagnosis.subject}".rstrip()
    first, *rest = _wrapped(f"{about}: {diagnosis.text}", width)
    yield Text.assemble(_INDENT, (word.ljust(_STATE_CELLS), style), first)
    yield from (Text(_FAR + line) for line in rest)
    for number, line in enumerate(_wrapped(diagnosis.remedy, width - 2)):
        yield Text.assemble(_FAR, ("  " if number else "→ ", TERMINAL.notice), line)
    if diagnosis.command:
        yield Text.assemble(_FAR, ("# ", TERMINAL.quiet), printable(diagnosis.command))


def _wrapped(words: str, width: int) -> list[str]:
    """Lines of whole words beside the state's column; names are not cut at their hyphens."""
    return wrap(printable(words), width - len(_FAR), break_on_hyphens=False)
