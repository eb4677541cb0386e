"""Why the kernel refuses something, in words that tell what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Final

_CAPABILITIES = "start as root or with the capabilities CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
_REMEDIES: Final[Mapping[int, str]] = {
    errno.EPERM: f"{_CAPABILITIES}; on Linux before 5.11 also set LimitMEMLOCK=infinity in the systemd unit",
    errno.ENOMEM: (
        "the kernel has no memory for it: lower the table sizes or add memory; "
        "on Linux before 5.11 set LimitMEMLOCK=infinity in the systemd unit"
    ),
    errno.ENOSYS: "this kernel was built without BPF: use a distribution's kernel",
    errno.ENODEV: "the device is gone",
}
_FIRST_OF_LIBBPF = 4000
"""Greater numbers are libbpf's own (bpf/libbpf.h)."""
_UNPRIVILEGED = "!root"
"""What the verifier ends with about arithmetic that it allows with CAP_PERFMON only."""
_LOG_END = "-- END PROG LOAD LOG --"


class FastPathError(Exception):
    """The kernel does not do what the fast path needs; the message says why and what to do."""


class BpfError(FastPathError):
    """BPF refuses something, or is not there; the message says what, why and what to do.

    `errno` is the kernel's or libbpf's answer, 0 where there was none.
    """

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


def refusal(what: str, answer: int, *, remedies: Mapping[int, str] = _REMEDIES, lines: Sequence[str] = ()) -> BpfError:
    """The error for something that was answered with a negative errno.

    `remedies` says what to do about some of them, before what is said about any; `lines` are those that libbpf printed.
    """
    number = -answer
    if reason := _verdict(lines):
        what_to_do = _CAPABILITIES if _UNPRIVILEGED in reason else "a newer kernel may take it"
        return BpfError(f"{what}: the kernel's verifier rejects the program ({reason}); {what_to_do}", number)
    message = f"{what}: {os.strerror(number) if number < _FIRST_OF_LIBBPF else 'libbpf cannot use it'}"
    if remedy := remedies.get(number) or _REMEDIES.get(number):
        message = f"{message}; {remedy}"
    elif lines:
        message = f"{message} ({lines[-1]})"
    return BpfError(message, number)


def _verdict(lines: Sequence[str]) -> str | None:
    """What the verifier said last, before its statistics."""
    if not any(_LOG_END in line for line in lines):
        return None
    for line in reversed(lines[: next(at for at, line in enumerate(lines) if _LOG_END in line)]):
        if line and not line.startswith(("processed ", "verification time", "stack depth")):
            return line
    return None
