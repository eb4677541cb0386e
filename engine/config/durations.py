"""Durations as operators write them: "5s", "250ms", "1h30m", "7d"."""

from __future__ import annotations

import re
from decimal import Decimal

from engine.config.schema import Duration

_UNIT_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_SPELLING = re.compile("".join(rf"(?:(?P<{unit}>\d{{1,9}}(?:\.\d{{1,3}})?){unit})?" for unit in _UNIT_MS), re.ASCII)


def parse_duration(text: str) -> Duration:
    """The duration that `text` spells: numbers with units from large to small, to the millisecond.

    Raises `ValueError`, whose message says what to write instead.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        raise ValueError(f'"{text}" has no unit: write "{text}s" for seconds or "{text}m" for minutes')
    spelled = _SPELLING.fullmatch(text)
    if spelled is None or not text:
        raise ValueError(f'"{text[:40]}" is not a duration: write for example "250ms", "5s", "1h30m" or "7d"')
    span_ms = sum(Decimal(count) * _UNIT_MS[unit] for unit, count in spelled.groupdict().items() if count)
    if span_ms != int(span_ms):
        raise ValueError(f'"{text}" is finer than a millisecond: write a whole number of "ms"')
    return Duration(int(span_ms) / 1000)


def format_duration(duration: Duration) -> str:
    """The shortest spelling of `duration`, rounded to the millisecond; `parse_duration` reads it back."""
    rest_ms = round(duration * 1000)
    spelled = ""
    for unit, unit_ms in _UNIT_MS.items():
        count, rest_ms = divmod(rest_ms, unit_ms)
        if count:
            spelled += f"{count}{unit}"
    return spelled or "0s"
