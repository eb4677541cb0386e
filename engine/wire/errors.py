"""The one exception that parsing untrusted bytes can raise."""

from __future__ import annotations


class WireError(ValueError):
    """Bytes that are not what they should be.

    `reason` is a short slug that drops are counted under: runt, zero-spi, ike-v1, ike-version, bad-length,
    truncated, bad-payload, not-an-answer.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason
