"""Slow start: a server that has just come up is eased into its share."""

from __future__ import annotations

FIRST_PART = 0.1
"""Part of its weight that a server starts with: enough to be used, too little to be overrun."""


def effective_weight(weight: int, up_for_s: float, slow_start_s: float) -> float:
    """The weight to schedule by, rising in a straight line from a tenth of the weight to all of it.

    `up_for_s` is how long the server has been up; a `slow_start_s` of 0 means no slow start.
    """
    if up_for_s >= slow_start_s:
        return float(weight)
    risen = max(up_for_s, 0.0) / slow_start_s
    return weight * (FIRST_PART + (1 - FIRST_PART) * risen)
