"""Tables as TOML gives them -> records of the schema, with every wrong key and value reported at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import Enum
from types import SimpleNamespace
from typing import Any, cast, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta
from msgspec.structs import FieldInfo
from netaddr import IPAddress

from engine.config.addresses import parse_address
from engine.config.durations import format_duration, parse_duration
from engine.config.problems import Problem
from engine.config.schema import Config, Duration, Record, fields_of

USABLE_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class Undecoded(AttributeError):
    """A rule across keys reads a value that did not decode, and so does not apply."""


class _Partial(SimpleNamespace):
    """A record without the values that did not decode."""

    def __getattr__(self, name: str) -> Any:
        raise Undecoded(name)


def decode(tables: Mapping[str, object], problems: list[Problem]) -> Config:
    """The configuration in `tables`; what is wrong with single keys and values is added to `problems`.

    Reading a value that was wrong raises `Undecoded`, so that rules across keys can still be tried on what is
    right: with problems, the result is good for nothing else.
    """
    return cast(Config, _record(Config, tables, _Place("", "", problems)))


def table_keys(key: str, names: Sequence[object]) -> list[str]:
    """The key of each table of the array `key`: by its name where that is usable and unique, else counted."""
    return [
        f"{key}.{name}"
        if isinstance(name, str) and USABLE_NAME.fullmatch(name) and names.count(name) == 1
        else f"{key}[{position}]"
        for position, name in enumerate(names, 1)
    ]


def array_of(info: FieldInfo) -> type[Record] | None:
    """The record a field holds a list of, if it does."""
    return table_of(get_args(info.type)[0]) if get_origin(info.type) is list else None


def table_of(expected: object) -> type[Record] | None:
    """The record that a type is, if it is one."""
    return expected if isinstance(expected, type) and issubclass(expected, Record) else None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where decoding is, and where it reports."""

    key: str
    header: str
    """The key without names, as it stands between the brackets of a TOML table."""
    problems: list[Problem]

    def inside(self, name: str) -> _Place:
        return replace(self, key=_join(self.key, name), header=_join(self.header, name))

    def report(self, message: str) -> None:
        self.problems.append(Problem(self.key, message))


def _record(cls: type[Record], raw: Mapping[str, object], place: _Place) -> Any:
    known = {info.encode_name: info for info in fields_of(cls)}
    for name in raw:
        if name not in known:
            place.inside(name).report(_unknown(name, list(known), place.header))
    values: dict[str, Any] = {}
    for name, info in known.items():
        inside = place.inside(name)
        if name in raw:
            try:
                values[info.name] = _field(info, raw[name], inside)
            except ValueError as wrong:
                inside.report(str(wrong))
        elif info.default is not NODEFAULT:
            values[info.name] = info.default
        elif info.default_factory is not NODEFAULT:
            values[info.name] = info.default_factory()
        else:
            inside.report(f"is missing: write {name} = {_EXAMPLES[info.type]}")
    return cls(**values) if len(values) == len(known) else _Partial(**values)


def _field(info: FieldInfo, raw: object, place: _Place) -> Any:
    if cls := array_of(info):
        if not isinstance(raw, list) or not all(isinstance(entry, Mapping) for entry in raw):
            raise ValueError(f"must be a list of tables: write [[{place.header}]], in two brackets, above each")
        keys = table_keys(place.key, [entry.get("name") for entry in raw])
        return [_record(cls, entry, replace(place, key=key)) for key, entry in zip(keys, raw, strict=True)]
    if cls := table_of(info.type):
        if not isinstance(raw, Mapping):
            raise ValueError(f"must be a table, not {_spell(raw)}: write [{place.header}] and its keys below")
        return _record(cls, raw, place)
    return _value(info.type, raw)


def _value(expected: Any, raw: object) -> Any:
    """A single value of the `expected` type; raises `ValueError` saying what to write."""
    plain, limits = _unfold(expected)
    try:
        value = msgspec.convert(raw, expected, dec_hook=_scalar)
    except msgspec.ValidationError as wrong:
        if isinstance(wrong.__cause__, ValueError):
            raise wrong.__cause__ from None
        raise ValueError(_expectation(plain, limits, raw)) from None
    if unseen := next((character for character in _texts(value) if not _is_seen(character)), ""):
        raise ValueError(f"has the character U+{ord(unseen):04X} in it, which nobody can see: remove it")
    if plain is Duration and limits and limits.extra:
        low, high = Duration(limits.extra["min_s"]), Duration(limits.extra["max_s"])
        if not low <= value <= high:
            raise ValueError(f"must be from {format_duration(low)} to {format_duration(high)}, not {_spell(raw)}")
    return value


def _texts(value: object) -> str:
    """What stands in a value that is text, or a list of texts."""
    match value:
        case str():
            return value
        case list():
            return "".join(value)
        case _:
            return ""


def _is_seen(character: str) -> bool:
    """Whether a terminal shows a character; a program's argument may have several lines."""
    return character.isprintable() or character in "\n\t"


def _scalar(expected: type, raw: object) -> object:
    """msgspec's hook for the types it does not know."""
    if expected is Duration:
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            raise ValueError(f'{raw} has no unit: write "{raw}s" for seconds or "{raw}m" for minutes')
        if not isinstance(raw, str):
            raise ValueError(f'must be a duration, not {_spell(raw)}: write for example "30s"')
        return parse_duration(raw)
    if not isinstance(raw, str):
        raise ValueError(f'must be an address, not {_spell(raw)}: write for example "192.0.2.10"')
    return parse_address(raw)


def _expectation(plain: Any, limits: Meta | None, raw: object) -> str:
    if isinstance(plain, type) and issubclass(plain, Enum):
        choices = [str(member.value) for member in plain]
        listed = ", ".join(f'"{choice}"' for choice in choices)
        return f"must be one of {listed}, not {_spell(raw)}{_suggestion(raw, choices)}"
    if plain is int:
        span = f" from {limits.ge} to {limits.le}" if limits else ""
        remedy = ": leave the quotes out" if isinstance(raw, str) and raw.isdecimal() else ""
        return f"must be a whole number{span}, not {_spell(raw)}{remedy}"
    if plain is bool:
        return f"must be true or false, not {_spell(raw)}"
    if plain is str:
        return f'must be text in quotes, not {_spell(raw)}: write for example "{_plain(raw)}"'
    if isinstance(raw, list):
        stranger = next(entry for entry in raw if not isinstance(entry, str))
        return f"must be a list of texts in quotes, but {_spell(stranger)} in it is none"
    return f'must be a list of texts, not {_spell(raw)}: write for example ["one", "two"]'


def _unknown(name: str, known: list[str], header: str) -> str:
    where = f"[{header}]" if header else "the top of the file"
    if hint := _suggestion(name, known):
        return f"is no key of {where}{hint}"
    if tables := [f"[{table}]" for table in _tables(Config, "") if table.endswith(f".{name}")]:
        return f"is no key of {where}: write {tables[0]}"
    if tables := [f"[{table}]" for table, names in _tables(Config, "").items() if name in names]:
        return f"is no key of {where}: it belongs into {' or '.join(tables)}"
    return f"is no key of {where}: remove it, or write one of {', '.join(known)}"


def _tables(cls: type[Record], header: str) -> dict[str, list[str]]:
    """The keys of every table of the schema, by its header."""
    tables = {header: [info.encode_name for info in fields_of(cls)]}
    for info in fields_of(cls):
        if inner := array_of(info) or table_of(info.type):
            tables |= _tables(inner, _join(header, info.encode_name))
    return tables


def _suggestion(given: object, choices: list[str]) -> str:
    close = get_close_matches(_plain(given).lower(), choices, n=1)
    return f": did you mean {close[0]}?" if close else ""


def _unfold(expected: Any) -> tuple[Any, Meta | None]:
    """The type and the limits in an `Annotated` type."""
    match get_args(expected):
        case (plain, Meta() as limits):
            return plain, limits
        case _:
            return expected, None


def _spell(raw: object) -> str:
    """A value as it may stand in the file, shortened."""
    match raw:
        case bool():
            return "true" if raw else "false"
        case str():
            return f'"{raw[:40]}…"' if len(raw) > 40 else f'"{raw}"'
        case Mapping():
            return "a table"
        case list():
            return "a list"
        case _:
            return str(raw)[:40]


def _plain(raw: object) -> str:
    return _spell(raw).strip('"')


def _join(parent: str, name: str) -> str:
    return f"{parent}.{name}" if parent else name


_EXAMPLES: dict[Any, str] = {str: '"vpn-1"', IPAddress: '"192.0.2.10"'}
