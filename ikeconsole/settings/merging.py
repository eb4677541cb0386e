"""Two changes of one configuration put together, key by key; where both changed the same, somebody must choose."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Tables = dict[str, Any]
"""TOML-like tables; a key that is absent has its default."""

Path = tuple[str, ...]
"""Keys from the top, with the names of services and real servers: service, always-on-vpn, scheduler."""

ORDER = "(order)"
"""Stands in a path for the order of a list of tables; no name can be spelled so."""


@dataclass(frozen=True, slots=True)
class Collision:
    """What both sides changed, each otherwise; None: the key or table is absent."""

    path: Path
    mine: Any
    theirs: Any


@dataclass(frozen=True, slots=True)
class Merged:
    """Both changes in one."""

    tables: Tables
    collisions: list[Collision] = field(default_factory=list)
    """In the order of their paths' appearance; `tables` has their value unless mine was favoured."""


def merge(
    base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any], favoured: Container[Path] = ()
) -> Merged:
    """What both made of `base`; a collision is decided for them, or for me where its path is `favoured`.

    Services and real servers are the same where their names are.
    """
    merging = _Merging(favoured)
    tables = merging.table((), base, mine, theirs)
    return Merged(tables, merging.collisions)


class _Merging:
    def __init__(self, favoured: Container[Path]) -> None:
        self.collisions: list[Collision] = []
        self._favoured = favoured

    def table(self, path: Path, base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Tables:
        merged: Tables = {}
        for key in dict.fromkeys([*theirs, *mine]):
            value = self._value((*path, key), base.get(key), mine.get(key), theirs.get(key))
            if value is not None:
                merged[key] = value
        return merged

    def _value(self, path: Path, base: Any, mine: Any, theirs: Any) -> Any:
        if mine in (base, theirs):
            return theirs
        if theirs == base:
            return mine
        sides = base, mine, theirs
        if all(side is None or isinstance(side, Mapping) for side in sides):
            return self.table(path, base or {}, mine or {}, theirs or {}) or None
        if all(side is None or _is_array(side) for side in sides):
            return self._array(path, base or [], mine or [], theirs or []) or None
        return self._choose(path, mine, theirs)

    def _array(self, path: Path, base: Sequence[Tables], mine: Sequence[Tables], theirs: Sequence[Tables]) -> list[Any]:
        before, ours, others = _named(base), _named(mine), _named(theirs)
        merged = {}
        for name in dict.fromkeys([*others, *ours]):
            entry = self._entry((*path, name), before.get(name), ours.get(name), others.get(name))
            if entry is not None:
                merged[name] = entry
        return [merged[name] for name in self._order(path, list(before), list(ours), list(others)) if name in merged]

    def _entry(self, path: Path, base: Tables | None, mine: Tables | None, theirs: Tables | None) -> Tables | None:
        """A service or real server, which is there as a whole or not at all."""
        if mine in (base, theirs):
            return theirs
        if theirs == base:
            return mine
        if mine is None or theirs is None:
            chosen: Tables | None = self._choose(path, mine, theirs)
            return chosen
        return self.table(path, base or {}, mine, theirs)

    def _order(self, path: Path, base: list[str], mine: list[str], theirs: list[str]) -> list[str]:
        """All names in the order of the side that changed it; what only the other has stands behind its neighbour."""
        ours = [name for name in mine if name in theirs]
        others = [name for name in theirs if name in mine]
        known = [name for name in base if name in ours]
        if ours == others or [name for name in ours if name in known] == known:
            return _woven(theirs, mine)
        if [name for name in others if name in known] == known:
            return _woven(mine, theirs)
        chosen: list[str] = self._choose((*path, ORDER), ours, others)
        return _woven(mine, theirs) if chosen is ours else _woven(theirs, mine)

    def _choose(self, path: Path, mine: Any, theirs: Any) -> Any:
        self.collisions.append(Collision(path, mine, theirs))
        return mine if path in self._favoured else theirs


def _is_array(value: Any) -> bool:
    """Whether it is a list of tables that can be told apart by their names."""
    if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
        return False
    names = [entry.get("name") for entry in value]
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def _named(entries: Sequence[Tables]) -> dict[str, Tables]:
    return {entry["name"]: entry for entry in entries}


def _woven(leading: Sequence[str], other: Sequence[str]) -> list[str]:
    names = list(leading)
    for position, name in enumerate(other):
        if name not in names:
            before = next((one for one in reversed(other[:position]) if one in names), None)
            names.insert(0 if before is None else names.index(before) + 1, name)
    return names
