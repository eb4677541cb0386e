"""Counts, names and spans of time as they stand in sentences for the operator."""

from __future__ import annotations

from collections.abc import Sequence

NAMES_SPELLED = 3
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def count(number: int, noun: str) -> str:
    """How many of something: 1 session, 1 204 sessions."""
    return f"{grouped(number)} {noun}" if number == 1 else f"{grouped(number)} {noun}s"


def verb(number: int, plain: str) -> str:
    """A verb that goes with so many: 1 session ends, 2 sessions end."""
    return f"{plain}s" if number == 1 else plain


def staying(sessions: int) -> str:
    """Sessions that are left in peace: 1 session stays until it ends, 2 sessions stay until they end."""
    return "1 session stays until it ends" if sessions == 1 else f"{count(sessions, 'session')} stay until they end"


def grouped(number: int) -> str:
    """A number with its thousands apart: 1 204."""
    return f"{number:,}".replace(",", " ")


def listed(names: Sequence[str], of: int = 0) -> str:
    """Names as a sentence lists them, the first few of many: a; a and b; a, b, c and 4 others.

    Where there are very many, the first `NAMES_SPELLED` do, with how many they are `of`.
    """
    spelled, others = names[:NAMES_SPELLED], max(of, len(names)) - NAMES_SPELLED
    if others > 0:
        return f"{', '.join(spelled)} and {'1 other' if others == 1 else f'{grouped(others)} others'}"
    return " and ".join(filter(None, (", ".join(spelled[:-1]), *spelled[-1:])))


def spelled_span(span_s: float) -> str:
    """A span of time in seconds in its two largest units: 45 s, 12 m, 3 h 10 m, 2 d 4 h."""
    whole = max(0, round(span_s))
    if whole < _MINUTE_S:
        return f"{whole} s"
    minutes = round(whole / _MINUTE_S)
    if minutes < _HOUR_S // _MINUTE_S:
        return f"{minutes} m"
    if minutes < _DAY_S // _MINUTE_S:
        return _pair(minutes, 60, "h", "m")
    return _pair(round(whole / _HOUR_S), 24, "d", "h")


def _pair(number: int, base: int, large: str, small: str) -> str:
    units, rest = divmod(number, base)
    return f"{units} {large} {rest} {small}" if rest else f"{units} {large}"
