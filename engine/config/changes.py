"""What differs between two configurations, said in one line for each key and table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from engine.config.decode import array_of, table_of
from engine.config.dump import to_short_table, to_value
from engine.config.edit import Entry, origins
from engine.config.schema import Config, RealServer, Record, Service, fields_of


def changes(old: Config, new: Config) -> list[str]:
    """What `new` says otherwise than `old`, in the order of the file; what is gone comes last in its table."""
    return [*_changed_keys("engine", old.engine, new.engine), *_changed_tables("", old.services, new.services)]


def _changed_tables(owner: str, old: Sequence[Entry], new: Sequence[Entry]) -> Iterator[str]:
    sources = origins(old, new)
    moved = _moved([source for source in sources if source is not None])
    for position, (entry, source) in enumerate(zip(new, sources, strict=True), 1):
        label = owner + entry.name
        if source is None:
            yield from _whole("+", owner, entry)
            continue
        before = old[source]
        if before.name != entry.name:
            yield f"{owner}{before.name}: renamed to {entry.name}"
        if source in moved:
            yield f"{label}: moved to place {position}"
        yield from _changed_keys(label, before, entry)
        if isinstance(before, Service) and isinstance(entry, Service):
            yield from _changed_tables(f"{label}/", before.real_servers, entry.real_servers)
    for number, entry in enumerate(old):
        if number not in sources:
            yield from _whole("-", owner, entry)


def _changed_keys(label: str, old: Record, new: Record, prefix: str = "") -> Iterator[str]:
    for info in fields_of(type(old)):
        before, after = getattr(old, info.name), getattr(new, info.name)
        key = prefix + info.encode_name
        if before == after or array_of(info) or key == "name":
            continue
        if table_of(info.type):
            yield from _changed_keys(label, before, after, f"{key}.")
        else:
            yield f"{label} {key}: {_spell(before)} → {_spell(after)}"


def _whole(sign: str, owner: str, entry: Entry) -> Iterator[str]:
    """A table that comes or goes, and the tables in it."""
    words = [sign, owner + entry.name, str(entry.address)]
    if isinstance(entry, RealServer):
        words.append(f"weight {entry.weight}")
    if sign == "+":
        told = {"name", "address", "weight", "real_server"}
        words += _spelled({key: value for key, value in to_short_table(entry).items() if key not in told})
    yield " ".join(words)
    if isinstance(entry, Service):
        for server in entry.real_servers:
            yield from _whole(sign, f"{owner}{entry.name}/", server)


def _spelled(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _spelled(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key} {_spell(value)}"


def _spell(value: object) -> str:
    match to_value(value):
        case bool(truth):
            return "true" if truth else "false"
        case "" | []:
            return "none"
        case list(entries):
            return ", ".join(map(_spell, entries))
        case other:
            text = str(other)
            return text if text.isprintable() else ascii(text)


def _moved(kept: Sequence[int]) -> set[int]:
    """Which entries stand elsewhere than before among those that were kept; as few as explain the new order."""
    matches = SequenceMatcher(None, sorted(kept), kept, autojunk=False).get_matching_blocks()
    stayed = {source for match in matches for source in kept[match.b : match.b + match.size]}
    return set(kept) - stayed
