"""The fields of a form, read off the configuration's schema: a new key there appears here by itself."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_args, get_origin

from msgspec import NODEFAULT
from msgspec.structs import FieldInfo, fields

from engine.config.decode import array_of, table_of
from engine.config.dump import to_value
from engine.config.schema import PrefixLengths, Record

ON, OFF = "on", "off"
_WHOLE_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a form, its value being text as long as it is edited."""

    steps: tuple[str, ...]
    """Its keys below the table of the form."""
    key: str
    """Its key in the schema, without names: service.health.interval."""
    plain: Any
    """Its type without limits."""
    default: Any
    """As TOML writes it; None: it has none and must be filled in."""
    label: str
    """Its name within its section."""

    @property
    def choices(self) -> list[str]:
        """The texts it can have, if these are few."""
        if self.plain is bool:
            return [ON, OFF]
        if isinstance(self.plain, type) and issubclass(self.plain, Enum):
            return [str(member.value) for member in self.plain]
        return []

    def show(self, value: Any) -> str:
        """The text for a value as TOML writes it."""
        match value:
            case None:
                return ""
            case bool():
                return ON if value else OFF
            case list():
                return ", ".join(map(_quoted, value))
            case _:
                return str(value)

    def read(self, text: str) -> Any:
        """The value that a text means; None: the default.

        What cannot be read stays text, so that the decoder of the configuration says what is wrong with it.
        """
        text = text.strip()
        value: Any = text
        if not text:
            return None
        if self.plain is bool and text in (ON, OFF):
            value = text == ON
        elif self.plain is int and _WHOLE_NUMBER.fullmatch(text):
            value = int(text)
        elif get_origin(self.plain) is list:
            value = next(csv.reader([text], skipinitialspace=True))
        return None if value == self.default else value


@dataclass(frozen=True, slots=True)
class Section:
    """The fields of one table."""

    key: str
    """The table's header in the file."""
    fields: list[Field]


def sections(record: type[Record], header: str) -> list[Section]:
    """The tables of a record, itself first, each with its fields; lists of tables are left to the form."""
    return list(_sections(record, header, ()))


def _sections(record: type[Record], header: str, steps: tuple[str, ...]) -> Iterator[Section]:
    own: list[Field] = []
    inner: list[Section] = []
    for info in fields(record):
        at, key = (*steps, info.encode_name), f"{header}.{info.encode_name}"
        below = table_of(info.type)
        if array_of(info):
            continue
        if below is PrefixLengths:
            own += [_field(each, (*at, each.encode_name), key, prefix=f"{info.encode_name}.") for each in fields(below)]
        elif below:
            inner += _sections(below, key, at)
        else:
            own.append(_field(info, at, header))
    yield Section(header, own)
    yield from inner


def _field(info: FieldInfo, steps: tuple[str, ...], header: str, prefix: str = "") -> Field:
    arguments = get_args(info.type)
    default = None
    if info.default is not NODEFAULT:
        default = to_value(info.default)
    elif info.default_factory is not NODEFAULT:
        default = to_value(info.default_factory())
    return Field(
        steps=steps,
        key=f"{header}.{info.encode_name}",
        plain=arguments[0] if arguments and get_origin(info.type) is not list else info.type,
        default=default,
        label=prefix + info.encode_name,
    )


def _quoted(entry: str) -> str:
    """An entry of a list; one with commas or spaces at its ends stands in quotes."""
    plain = entry and entry == entry.strip() and not set(entry) & set(',"')
    return entry if plain else '"' + entry.replace('"', '""') + '"'
