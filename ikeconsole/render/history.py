"""The configuration's saved revisions."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from engine.control.records import Revision
from ikeconsole.render.columns import Column, stacked, table
from ikeconsole.render.numbers import clock

_COLUMNS: list[Column[Revision]] = [
    Column("REV", lambda revision: str(revision.number), right=True),
    Column("SAVED", lambda revision: clock(revision.at)),
    Column("BY", lambda revision: revision.author, flexible=True),
    Column("CHANGE", lambda revision: revision.summary, flexible=True),
]


def history(revisions: Sequence[Revision], width: int, *, differences: bool) -> RenderableType:
    """A table of revisions; with `differences`, what each changed under its line."""
    if not revisions:
        return Text("No revision yet: the first change through ikeconsole makes one.")
    if not differences:
        return table(_COLUMNS, revisions, width)
    return stacked(
        *(
            part
            for revision in revisions
            for part in (table(_COLUMNS, [revision], width), Text(revision.difference.rstrip("\n")))
        )
    )
