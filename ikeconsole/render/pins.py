"""The pinned clients: who is bound to which real server."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from engine.control.records import PersistenceRow
from ikeconsole.render.columns import Column, table

_COLUMNS: list[Column[PersistenceRow]] = [
    Column("CLIENT", lambda row: row.client, flexible=True),
    Column("SERVICE/SERVER", lambda row: f"{row.service}/{row.server}", flexible=True),
]


def pins(rows: Sequence[PersistenceRow], width: int) -> RenderableType:
    """A table of the pinned clients."""
    if not rows:
        return Text("No client is pinned: ikeconsole pin ADDR SERVER binds one to a real server.")
    return table(_COLUMNS, rows, width)
