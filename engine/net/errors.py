"""What the network's refusals are counted as."""

from __future__ import annotations

import errno


def send_failure(number: int | None) -> str:
    """The reason, as a slug, that a failed send or an ICMP error with this errno is counted by."""
    match number:
        case errno.ECONNREFUSED:
            return "server-refused"
        case errno.EHOSTUNREACH | errno.ENETUNREACH | errno.EHOSTDOWN | errno.ENETDOWN:
            return "unreachable"
        case errno.EAGAIN | errno.ENOBUFS:
            return "send-buffer-full"
        case errno.EMSGSIZE:
            return "too-big"
        case errno.EMFILE | errno.ENFILE:
            return "out-of-files"
        case errno.EADDRNOTAVAIL | errno.EADDRINUSE:
            return "no-source-port"
        case errno.EPERM | errno.EACCES:
            return "not-permitted"
        case _:
            return errno.errorcode.get(number or 0, "unknown-error").lower()
