"""The effective configuration as TOML, every default written out."""

from __future__ import annotations

from enum import Enum
from typing import Any

import tomli_w
from msgspec import NODEFAULT
from msgspec.structs import FieldInfo
from netaddr import IPAddress

from engine.config.durations import format_duration
from engine.config.schema import Config, Duration, Record, fields_of


def dump(config: Config) -> str:
    """TOML that loads as exactly `config`, with every key and its value."""
    return tomli_w.dumps(to_table(config))


def to_table(record: Record) -> dict[str, Any]:
    """A record as TOML's tables and values, every key written out."""
    return {info.encode_name: to_value(getattr(record, info.name)) for info in fields_of(type(record))}


def to_value(value: object) -> Any:
    """A part of the configuration as TOML writes it."""
    match value:
        case Record():
            return to_table(value)
        case list():
            return [to_value(entry) for entry in value]
        case Enum():
            return value.value
        case Duration():
            return format_duration(value)
        case IPAddress():
            return str(value)
        case _:
            return value


def to_short_table(record: Record) -> dict[str, Any]:
    """A record as TOML's tables and values, without the keys that have their default."""
    table: dict[str, Any] = {}
    for info in fields_of(type(record)):
        value = getattr(record, info.name)
        if value == _default(info):
            continue
        match value:
            case Record():
                table[info.encode_name] = to_short_table(value)
            case [Record(), *_]:
                table[info.encode_name] = [to_short_table(entry) for entry in value]
            case _:
                table[info.encode_name] = to_value(value)
    return table


def _default(info: FieldInfo) -> object:
    return info.default if info.default_factory is NODEFAULT else info.default_factory()
