"""How a command ends: the exit codes that scripts may rely on, and the failure that carries one."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes."""

    OK = 0
    FAILED = 1
    USAGE = 2
    BAD_CONFIG = 3
    NO_RIGHT = 4
    """Cannot bind, or no privilege."""
    UNREACHABLE = 5
    """No engine answers."""


class Failure(Exception):
    """A command that ends without doing its work; `details` are further lines for standard error."""

    def __init__(self, code: Exit, message: str, details: list[str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or []
