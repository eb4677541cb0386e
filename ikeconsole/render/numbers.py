"""Numbers that line up: never wider than their column, always with their unit."""

from __future__ import annotations

import time

UNKNOWN = "-"
"""What stands for a number that cannot be known."""

_SI = "kMGTPE"
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def si(number: float) -> str:
    """At most four characters: 0, 999, 1.2k, 412M; at least two digits are right."""
    if number < 999.5:
        return f"{number:.0f}"
    for prefix in _SI:
        number /= 1000
        if number < 9.95:
            return f"{number:.1f}{prefix}"
        if number < 999.5:
            return f"{number:.0f}{prefix}"
    return f">1{_SI[-1]}"


def rate(per_second: float) -> str:
    """At most four characters: 0, <0.1, 2.1, 12, 1.2k."""
    if per_second < 9.95:
        return "0" if per_second <= 0 else "<0.1" if per_second < 0.05 else f"{per_second:.1f}"
    return si(per_second)


def age(seconds: float) -> str:
    """At most six characters: 1s, 2m14s, 41m, 2h14m, 3d4h, 12d; rounded down."""
    whole = max(0, int(seconds))
    if whole < _MINUTE_S:
        return f"{whole}s"
    if whole < 10 * _MINUTE_S:
        return f"{whole // _MINUTE_S}m{whole % _MINUTE_S:02}s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S}h{whole % _HOUR_S // _MINUTE_S:02}m"
    if whole < 10 * _DAY_S:
        return f"{whole // _DAY_S}d{whole % _DAY_S // _HOUR_S}h"
    return f"{min(whole // _DAY_S, 99999)}d"


def round_trip(seconds: float | None) -> str:
    """A probe's round trip: 0.4ms, 12ms, 1.2s; - for none."""
    if seconds is None:
        return UNKNOWN
    milliseconds = seconds * 1000
    if milliseconds < 9.95:
        return f"{milliseconds:.1f}ms"
    return f"{milliseconds:.0f}ms" if milliseconds < 999.5 else f"{seconds:.1f}s"


def grouped(number: int) -> str:
    """A count in a sentence: 1 204."""
    return f"{number:,}".replace(",", " ")


def percent(part: float, whole: float) -> str:
    """How full something bounded is: 1.2 %, 37 %; - where there is no bound."""
    if not whole:
        return UNKNOWN
    share = 100 * part / whole
    return f"{share:.1f} %" if share < 9.95 else f"{share:.0f} %"


def clock(at: float) -> str:
    """Local date and time of a Unix time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
