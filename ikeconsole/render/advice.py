"""Advice as people read it: what to set where, why, and how to see that it was done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.text import Text

from engine.control.records import Advice, Snippet
from ikeconsole.render.columns import printable
from ikeconsole.render.states import ALARM, TERMINAL, StateStyles

_LANGUAGES = {"powershell": "PowerShell", "swanctl": "strongSwan", "shell": "Linux", "toml": "ikeconsole"}
_TALLIES = {"do": "to do", "consider": "to consider", "well": "well"}
_LABEL_CELLS = 7
_INDENT = "  "


def urgency(advice: Advice, styles: StateStyles = TERMINAL) -> Text:
    """How urgent it is, as glyph and word."""
    match advice.severity:
        case "do":
            return Text(f"{ALARM} do", styles.warning)
        case "consider":
            return Text("• consider", styles.notice)
        case "well":
            return Text("● well", styles.up)
        case other:
            return Text(printable(other))


def subject(advice: Advice) -> str:
    """What it is about, as commands name it."""
    return printable(f"{advice.service}/{advice.server}" if advice.server else advice.service)


def tally(advices: Sequence[Advice]) -> str:
    """How many there are of each urgency: 1 to do, 3 to consider, 2 well."""
    urgencies = [advice.severity for advice in advices]
    parts = [f"{urgencies.count(name)} {words}" for name, words in _TALLIES.items() if name in urgencies]
    return ", ".join(parts) or "nothing to advise"


def advice_block(advice: Advice, width: int) -> Text:
    """One piece of advice under its own heading, in lines of at most `width` cells; what is to be copied is not cut."""
    heading = Text.assemble(urgency(advice), "  ", (subject(advice), "bold"))
    body = advice_body(advice, width - len(_INDENT)).split(allow_blank=True)
    return Text("\n").join([heading, *(Text.assemble(_INDENT, line) if line else line for line in body)])


def advice_body(advice: Advice, width: int, styles: StateStyles = TERMINAL) -> Text:
    """What it says, without its heading."""
    lines = [Text(line, "bold") for line in _wrapped(advice.what, width)]
    lines += _labelled("why", advice.why, width, styles)
    lines += _labelled("check", advice.check, width, styles)
    for snippet in advice.snippets:
        lines += [Text(), *(Text(line, styles.quiet) for line in _wrapped(snippet_heading(snippet), width))]
        lines += [Text(_INDENT + printable(line)) for line in snippet.text.splitlines()]
    return Text("\n").join(lines)


def snippet_heading(snippet: Snippet) -> str:
    """In which language it is, and where it goes."""
    return printable(f"{_LANGUAGES.get(snippet.language, snippet.language)} {snippet.where}")


def _labelled(label: str, words: str, width: int, styles: StateStyles) -> Iterator[Text]:
    for number, line in enumerate(_wrapped(words, width - _LABEL_CELLS)):
        yield Text.assemble((("" if number else label).ljust(_LABEL_CELLS), styles.quiet), line)


def _wrapped(words: str, width: int) -> list[str]:
    """Lines of whole words; names are not cut at their hyphens."""
    return wrap(printable(words), width, break_on_hyphens=False)
