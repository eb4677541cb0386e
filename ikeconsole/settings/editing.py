"""Settings while they are edited: what they were, what they are to be, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Container, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from engine.config.changes import changes
from engine.config.decode import decode, table_keys
from engine.config.problems import Problem
from engine.config.schema import Config
from engine.config.validate import validate
from engine.control.records import Settings
from ikeconsole.settings.merging import Collision, Merged, Path, Tables, merge

Place = tuple[str | int, ...]
"""Keys and positions from the top of the tables: service, 0, real_server, 2, weight."""


@dataclass(slots=True)
class Spot:
    """A table that a form is about; it follows that table when other settings are taken over."""

    place: Place | None
    """None: the table is gone."""


class Editing:
    """One edit of the whole configuration, begun from `settings`; forms of it share it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tables: Tables = deepcopy(settings.tables)
        self.version = 0
        """Counts the changes, so that forms draw only what is new."""
        self._spots: list[Spot] = []
        self._origins = _origins(self.tables, settings.tables)

    @property
    def changed(self) -> bool:
        """Whether there is anything to apply."""
        return self.tables != self.settings.tables

    def spot(self, place: Place) -> Spot:
        """A table to follow."""
        spot = Spot(place)
        self._spots.append(spot)
        return spot

    def value(self, place: Place) -> Any:
        """What stands at a place; None: nothing, which means the default."""
        return _at(self.tables, place)

    def before(self, place: Place) -> Any:
        """What stood there when the edit began, whatever services and real servers are called by now."""
        here: Any = self.tables
        was: Any = self.settings.tables
        for step in place:
            here = here[step] if isinstance(step, int) else (here or {}).get(step)
            was = self._origins.get(id(here)) if isinstance(step, int) else (was or {}).get(step)
        return was

    def put(self, place: Place, value: Any) -> None:
        """Write a value; None takes the key away, and with it every table that is empty then."""
        *around, last = place
        table: Any = self.tables
        for step in around:
            table = table[step] if isinstance(step, int) else table.setdefault(step, {})
        if value is None:
            table.pop(last, None)
            _prune(self.tables, tuple(around))
        else:
            table[last] = value
        self.version += 1

    def add(self, array: Place, entry: Tables) -> Place:
        """Append a table to a list of tables; returns its place."""
        entries = [*(self.value(array) or []), deepcopy(entry)]
        self.put(array, entries)
        return (*array, len(entries) - 1)

    def remove(self, place: Place) -> None:
        """Take a table out of its list."""
        *array, position = place
        entries = [entry for number, entry in enumerate(self.value(tuple(array))) if number != position]
        self.put(tuple(array), entries or None)

    def key_of(self, place: Place) -> str:
        """The key that problems name this place by."""
        key = ""
        for number, step in enumerate(place):
            if isinstance(step, int):
                entries = self.value(place[:number])
                key = table_keys(key, [entry.get("name") for entry in entries])[step]
            else:
                key = f"{key}.{step}" if key else step
        return key

    def problems(self) -> list[Problem]:
        """Everything wrong with the tables, in the words of `ikeconsole check`."""
        problems: list[Problem] = []
        config = decode(self.tables, problems)
        return problems + validate(config)

    def take_over(self, settings: Settings) -> None:
        """Go on from other settings: with their tables where nothing was edited, else only as the new base."""
        if self.changed and settings.tables != self.settings.tables:
            raise ValueError("both sides changed: merge instead")
        tables = self.tables if self.changed else deepcopy(settings.tables)
        self._move_to(settings, tables)

    def collisions(self, settings: Settings) -> list[Collision]:
        """What was edited here and changed otherwise in other settings."""
        return self._merged(settings, ()).collisions

    def merge(self, settings: Settings, favoured: Container[Path]) -> None:
        """Put what was edited on top of other settings; where both changed the same, the `favoured` paths are ours."""
        self._move_to(settings, self._merged(settings, favoured).tables)

    def discard(self, settings: Settings) -> None:
        """Drop what was edited and go on from other settings."""
        self._move_to(settings, deepcopy(settings.tables))

    def _merged(self, settings: Settings, favoured: Container[Path]) -> Merged:
        return merge(self.settings.tables, deepcopy(self.tables), deepcopy(settings.tables), favoured)

    def _move_to(self, settings: Settings, tables: Tables) -> None:
        if tables is not self.tables:
            for spot in self._spots:
                spot.place = None if spot.place is None else _moved(self.tables, tables, spot.place)
        self.settings, self.tables = settings, tables
        self._origins = _origins(tables, settings.tables)
        self.version += 1


def changes_between(old: Settings, new: Settings) -> list[str]:
    """What `new` settings of a running engine say otherwise than `old` ones, a line each."""
    return changes(config_of(old), config_of(new))


def config_of(settings: Settings) -> Config:
    """What settings of a running engine say."""
    return decode(settings.tables, [])


def _at(tables: Any, place: Place) -> Any:
    for step in place:
        if tables is None:
            return None
        tables = tables[step] if isinstance(step, int) else tables.get(step)
    return tables


def _moved(old: Tables, new: Tables, place: Place) -> Place | None:
    """Where the table or key at `place` of `old` is in `new`; None: nowhere."""
    moved: Place = ()
    for number, step in enumerate(place):
        if isinstance(step, int):
            name = _at(old, place[: number + 1]).get("name")
            names = [entry.get("name") for entry in _at(new, moved) or []]
            if name is None or name not in names:
                return None
            step = names.index(name)
        moved = (*moved, step)
    return moved


def _origins(tables: Tables, before: Tables) -> dict[int, Tables]:
    """What every table of a list was before, by the identity of what it is now."""
    found: dict[int, Tables] = {}
    for key, value in tables.items():
        for entry in value if isinstance(value, list) else ():
            if isinstance(entry, dict) and (was := _called(entry.get("name"), before.get(key, ()))):
                found |= {id(entry): was} | _origins(entry, was)
    return found


def _called(name: object, entries: Iterable[Tables]) -> Tables | None:
    return next((entry for entry in entries if entry["name"] == name), None)


def _prune(tables: Tables, place: Place) -> None:
    while place and isinstance(place[-1], str) and not _at(tables, place):
        _at(tables, place[:-1]).pop(place[-1], None)
        place = place[:-1]
