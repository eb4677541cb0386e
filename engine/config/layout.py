"""A TOML text as its tables and lines, so that one can change and every other stays to the byte."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tomlkit
from tomlkit.items import InlineTable

Place = tuple[str | int, ...]
"""Where something is: keys, and positions in arrays from 0, as in ("service", 0, "health", "interval")."""

_SHOWN_HEADER = re.compile(r"\s*#\s*\[{1,2}[\w.-]+\]{1,2}\s*(#|$)")


@dataclass(slots=True)
class Line:
    """A comment, a blank line, or a key with its value and the comment behind it."""

    text: str
    """With its line ends; a value may run over several."""
    key: tuple[str, ...] = ()
    """Empty without a key; several parts for a dotted one."""

    @property
    def blank(self) -> bool:
        """Whether nothing stands in it."""
        return not self.text.strip()


@dataclass(slots=True, eq=False)
class Block:
    """A table from its header, with the comment right above that, to the next; the first has no header."""

    place: Place
    header: str
    lines: list[Line] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The block as it stands in the file."""
        return self.header + "".join(line.text for line in self.lines)

    def last_key(self) -> int:
        """The number of its last line with a key, or -1."""
        return max((number for number, line in enumerate(self.lines) if line.key), default=-1)

    def take_tail(self) -> list[Line]:
        """Cut off and return what follows the first blank line behind the last key."""
        start = self.last_key() + 1
        while start < len(self.lines) and not self.lines[start].blank:
            start += 1
        tail, self.lines = self.lines[start:], self.lines[:start]
        return tail

    def take_aside(self) -> list[Line]:
        """Cut off and return comments at the end that show other tables, which new blocks must not follow."""
        last_key = self.last_key()
        shown = (number for number, line in enumerate(self.lines) if _SHOWN_HEADER.match(line.text))
        start = next((number for number in shown if number > last_key), 0)
        while start > 0 and not self.lines[start - 1].blank:
            start -= 1
        while start > 0 and self.lines[start - 1].blank:
            start -= 1
        if start <= last_key or not self.header:
            return []
        aside, self.lines = self.lines[start:], self.lines[:start]
        return aside


def read_blocks(text: str) -> list[Block]:
    """The blocks of `text`, which must be TOML; their texts put together are `text` again."""
    blocks = [Block((), "")]
    arrays: Counter[Place] = Counter()
    lines = iter(re.findall(r"[^\n]*\n|[^\n]+", text))
    for line in lines:
        match line.lstrip()[:1]:
            case "" | "#":
                blocks[-1].lines.append(Line(line))
            case "[":
                comment = _take_comment(blocks[-1])
                blocks.append(Block(_resolve(tomllib.loads(line), arrays), comment + line))
            case _:
                statement = line
                while not _complete(statement):
                    statement += next(lines)
                blocks[-1].lines.append(Line(statement, _key(statement)))
    return blocks


def _take_comment(block: Block) -> str:
    """Cut off the comment that a blank line parts from the rest of the block: it is about the next header."""
    start = len(block.lines)
    while start > 0 and block.lines[start - 1].text.lstrip().startswith("#"):
        start -= 1
    if start == 0 or not block.lines[start - 1].blank:
        return ""
    comment = "".join(line.text for line in block.lines[start:])
    del block.lines[start:]
    return comment


def _resolve(header: Mapping[str, Any], arrays: Counter[Place]) -> Place:
    """Where a header leads, given how many entries the arrays above it have so far."""
    place: Place = ()
    while header:
        ((name, inner),) = header.items()
        place += (name,)
        if isinstance(inner, list):
            arrays[place] += 1
            return (*place, arrays[place] - 1)
        if place in arrays:
            place += (arrays[place] - 1,)
        header = inner
    return place


def _complete(statement: str) -> bool:
    try:
        tomllib.loads(statement)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _key(statement: str) -> tuple[str, ...]:
    key: tuple[str, ...] = ()
    inner: Any = tomlkit.parse(statement)
    while isinstance(inner, Mapping) and not isinstance(inner, InlineTable):
        ((name, inner),) = inner.items()
        key += (str(name),)
    return key
