"""IP datagrams that arrive incomplete, as the kernel counts them for this network namespace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.telemetry.alarms import Finding
from engine.wording import count

SNMP = Path("/proc/net/snmp")
SNMP6 = Path("/proc/net/snmp6")


def reassembly_failures() -> int:
    """Datagrams of which fragments never came since the namespace was made, IPv4 and IPv6; 0 where nobody tells.

    Raises:
        OSError: no file can be opened at the moment.
    """
    return parse_failures(_text(SNMP), _text(SNMP6))


def parse_failures(snmp: str, snmp6: str) -> int:
    """Read proc(5)'s ReasmFails: in one file names stand above values, in the other beside them."""
    failures = 0
    names, values = ([line.split() for line in snmp.splitlines() if line.startswith("Ip:")] + [[], []])[:2]
    if "ReasmFails" in names:
        failures += int(values[names.index("ReasmFails")])
    for line in snmp6.splitlines():
        if line.startswith("Ip6ReasmFails"):
            failures += int(line.split()[1])
    return failures


def reassembly_findings(lost: int) -> Iterator[Finding]:
    """What is wrong when so many datagrams were lost lately."""
    if lost:
        yield Finding(
            "fragments-lost",
            f"{count(lost, 'datagram')} came incomplete: IP fragments are lost on the way here; big IKE_AUTH messages "
            "travel in them, and their clients see error 809",
            "enable IKEv2 fragmentation at clients and servers; else see that firewalls on the way pass fragments",
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (FileNotFoundError, PermissionError):
        return ""
