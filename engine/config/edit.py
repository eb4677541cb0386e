"""Changes to a configuration's text that keep the operator's comments, order and spelling."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tomlkit
from msgspec.structs import replace

from engine.config.decode import array_of, table_of
from engine.config.dump import to_short_table, to_value
from engine.config.layout import Block, Line, Place, read_blocks
from engine.config.load import parse
from engine.config.schema import AdminState, Config, PrefixLengths, RealServer, Record, Service, fields_of

Entry = Service | RealServer
_Named = TypeVar("_Named", Service, RealServer)
_EDITED = Path("edited configuration")


def set_server(
    text: str, service: str, server: str, *, state: AdminState | None = None, weight: int | None = None
) -> str:
    """`text` with another admin state or weight of one real server.

    Raises `LookupError` when there is no such server, and `ConfigError` when either text is not valid.
    """
    old = parse(text, _EDITED)
    owner = _find(old.services, service, "no service")
    found = _find(owner.real_servers, server, f"{service} has no real server")
    changed = changed_server(found, state, weight)
    servers = [changed if entry is found else entry for entry in owner.real_servers]
    services = [replace(owner, real_servers=servers) if entry is owner else entry for entry in old.services]
    return replace_config(text, old, replace(old, services=services))


def changed_server(server: RealServer, state: AdminState | None, weight: int | None) -> RealServer:
    """A real server with another admin state or weight; nothing is checked."""
    return replace(
        server,
        state=server.state if state is None else state,
        weight=server.weight if weight is None else weight,
    )


def replace_config(text: str, old: Config, new: Config) -> str:
    """`text`, which says `old`, changed to say `new`: keys that do not differ stay as they are, to the byte.

    A table that is removed takes the comment right above its header along. A list of tables written inside
    one pair of brackets is written anew when entries come, go or change places. Raises `ConfigError` when
    `new` is not valid, and `ValueError` for a text that cannot be edited in place.
    """
    if old == new:
        return text
    editor = _Editor(text)
    editor.change((), old, new)
    edited = editor.text()
    if parse(edited, _EDITED) != new:
        raise ValueError("this text cannot be edited in place: change it in an editor")
    return edited


def origins(old: Sequence[Entry], new: Sequence[Entry]) -> list[int | None]:
    """Which old entry each new one was: of the same name, or of the same address under a name no longer used."""
    names = {entry.name: number for number, entry in enumerate(old)}
    found = [names.get(entry.name) for entry in new]
    free = [number for number in range(len(old)) if number not in found]
    for position, entry in enumerate(new):
        if found[position] is None:
            renamed = next((number for number in free if old[number].address == entry.address), None)
            if renamed is not None:
                found[position] = renamed
                free.remove(renamed)
    return found


def _find(entries: Sequence[_Named], name: str, absent: str) -> _Named:
    for entry in entries:
        if entry.name == name:
            return entry
    names = ", ".join(entry.name for entry in entries) or "none"
    raise LookupError(f'{absent} "{name}": there is {names}')


class _Editor:
    """The text while it is changed.

    Places count the entries of the old configuration: the entries of an array are changed before any of them
    moves, so that the count holds as long as it is needed.
    """

    def __init__(self, text: str) -> None:
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._blocks = read_blocks(text if text.endswith("\n") or not text else text + self._newline)

    def text(self) -> str:
        return "".join(block.text for block in self._blocks)

    def change(self, place: Place, old: Record, new: Record) -> None:
        for info in fields_of(type(old)):
            before, after = getattr(old, info.name), getattr(new, info.name)
            inner = (*place, info.encode_name)
            if before == after:
                continue
            if array_of(info):
                self._change_array(inner, before, after)
            elif info.type is PrefixLengths and not self._stands(inner):
                self._set(inner, to_short_table(after))
            elif table_of(info.type):
                self.change(inner, before, after)
            else:
                self._set(inner, to_value(after))

    def _set(self, place: Place, value: Any) -> None:
        table, name = place[:-1], str(place[-1])
        if holder := self._holder(place):
            block, line = holder
            line.text = _rewritten(line.text, place[len(block.place) :], value)
        elif own := self._block_at(table):
            self._add_key(own, (name,), value)
        elif dotted := self._dotted_in(table):
            self._add_key(dotted, (*map(str, table[len(dotted.place) :]), name), value)
        else:
            added = Block(table, self._header(table))
            self._add_key(added, (name,), value)
            self._insert(self._block_at(table[:-1]) or self._blocks[0], [added])

    def _change_array(self, place: Place, old: Sequence[Entry], new: Sequence[Entry]) -> None:
        sources = origins(old, new)
        for entry, origin in zip(new, sources, strict=True):
            if origin is not None:
                self.change((*place, origin), old[origin], entry)
        if sources == list(range(len(old))):
            return
        if holder := self._holder(place):
            block, line = holder
            if old or block.place + line.key != place:
                value = [to_short_table(entry) for entry in new]
                line.text = _rewritten(line.text, place[len(block.place) :], value)
                return
            block.lines.remove(line)
        self._arrange(
            place,
            len(old),
            [
                self._fresh((*place, len(old) + number), entry) if origin is None else origin
                for number, (entry, origin) in enumerate(zip(new, sources, strict=True))
            ],
        )

    def _arrange(self, place: Place, count: int, wanted: Sequence[int | list[Block]]) -> None:
        """Bring the entries of an array into the `wanted` order: old ones by number, new ones as blocks."""
        groups = [self._inside((*place, number)) for number in range(count)]
        first = self._blocks.index(groups[0][0]) if groups else None
        before = self._inside(place[:-1])[-1] if first is None else self._blocks[first - 1]
        kept = [entry for entry in wanted if isinstance(entry, int)]
        for number in set(range(count)).difference(kept):
            for block in groups[number]:
                self._take_out(block, block.take_tail())
        if kept != sorted(kept):
            for number in kept:
                for block in groups[number]:
                    self._take_out(block, block.take_aside())
        for entry in wanted:
            group = groups[entry] if isinstance(entry, int) else entry
            if group[0] not in self._blocks:
                self._insert(before, group)
            before = group[-1]

    def _insert(self, before: Block, group: Sequence[Block]) -> None:
        """Put blocks behind another, with a blank line on either side."""
        position = self._blocks.index(before) + 1
        group[-1].lines += before.take_aside()
        closed = group if position < len(self._blocks) else group[:-1]
        for block in (before, *closed):
            if block.text and not (block.lines and block.lines[-1].blank):
                block.lines.append(Line(self._newline))
        self._blocks[position:position] = group

    def _take_out(self, block: Block, left_behind: Sequence[Line]) -> None:
        """Take a block out, and leave some comments of it to the block before."""
        position = self._blocks.index(block)
        before = self._blocks[position - 1]
        del self._blocks[position]
        commented = any(not line.blank for line in left_behind)
        if commented or position == len(self._blocks):
            while before.lines and before.lines[-1].blank:
                before.lines.pop()
        if commented:
            before.lines += left_behind

    def _fresh(self, place: Place, record: Record) -> list[Block]:
        """The blocks of a new table, without the keys that have their default."""
        return self._fresh_blocks(place, to_short_table(record))

    def _fresh_blocks(self, place: Place, table: Mapping[str, Any]) -> list[Block]:
        block = Block(place, self._header(place))
        blocks = [block]
        for name, value in table.items():
            match value:
                case Mapping() if name != "persistence_prefix":
                    blocks += self._fresh_blocks((*place, name), value)
                case [Mapping(), *_]:
                    for number, entry in enumerate(value):
                        blocks += self._fresh_blocks((*place, name, number), entry)
                case _:
                    self._add_key(block, (name,), value)
        for block in blocks[:-1]:
            block.lines.append(Line(self._newline))
        return blocks

    def _header(self, place: Place) -> str:
        name = ".".join(step for step in place if isinstance(step, str))
        return (f"[[{name}]]" if isinstance(place[-1], int) else f"[{name}]") + self._newline

    def _add_key(self, block: Block, key: tuple[str, ...], value: Any) -> None:
        """Add a key below the comment that shows it, or else below the last key."""
        dotted = ".".join(key)
        position = block.last_key()
        shown = re.compile(rf"\s*#\s*(?:{re.escape(dotted)}\s*=|(\[))")
        for number, line in enumerate(block.lines):
            if found := shown.match(line.text):
                if not found[1]:
                    position = number
                break
        above = block.lines[position].text if position >= 0 else ""
        indent = above[: len(above) - len(above.lstrip(" \t"))]
        spelled = tomlkit.item(_inline(value)).as_string()
        block.lines.insert(position + 1, Line(f"{indent}{dotted} = {spelled}{self._newline}", key))

    def _inside(self, place: Place) -> list[Block]:
        return [block for block in self._blocks if block.place[: len(place)] == place]

    def _block_at(self, place: Place) -> Block | None:
        return next((block for block in self._blocks if block.place == place), None)

    def _holder(self, place: Place) -> tuple[Block, Line] | None:
        """The line that gives the value at `place`, or that of a table or list around it."""
        for block in self._blocks:
            for line in block.lines:
                at = block.place + line.key
                if line.key and place[: len(at)] == at:
                    return block, line
        return None

    def _dotted_in(self, place: Place) -> Block | None:
        """The block in which a table is written as dotted keys."""
        for block in self._blocks:
            for line in block.lines:
                if line.key and len(block.place) < len(place) and (block.place + line.key)[: len(place)] == place:
                    return block
        return None

    def _stands(self, place: Place) -> bool:
        return bool(self._holder(place) or self._block_at(place) or self._dotted_in(place))


def _rewritten(statement: str, place: Place, value: Any) -> str:
    """A key's line with another value at `place` within it, and the comment behind it."""
    document = tomlkit.parse(statement)
    inner: Any = document
    for step in place[:-1]:
        if isinstance(step, str) and step not in inner:
            inner[step] = tomlkit.inline_table()
        inner = inner[step]
    inner[place[-1]] = _inline(value)
    return document.as_string()


def _inline(value: Any) -> Any:
    """A value that fits behind a key's equals sign."""
    match value:
        case Mapping():
            table = tomlkit.inline_table()
            table.update({name: _inline(inner) for name, inner in value.items()})
            return table
        case list():
            array = tomlkit.array()
            array.extend(_inline(inner) for inner in value)
            return array
        case _:
            return value
