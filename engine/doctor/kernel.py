"""The kernel, and the tools that the return path of transparent services takes."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from socket import AF_INET, AF_INET6
from typing import Final

from engine.config.schema import Config
from engine.config.validate import server_ports
from engine.doctor.commands import CommandError, Denied, ask
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.doctor.needs import transparent_services
from engine.net.transparent import ruleset

BPF_LINKS_SINCE: Final = (5, 9)
"""Linux: XDP programs held by links."""

_KERNEL: Final = Topic("kernel", "version")
_TPROXY: Final = Topic("kernel", "tproxy")
_ANY_PORT: Final = 1


@dataclass(frozen=True, slots=True)
class Tproxy:
    """What came of having the return path's rules checked."""

    failure: str = ""
    denied: bool = False


def judge_kernel(release: str) -> Iterator[Diagnosis]:
    """Whether it is new enough; `release` is what uname(2) says."""
    if _version(release) < BPF_LINKS_SINCE:
        yield _KERNEL.warn(
            f"Linux {release} is too old for the fast path: all data takes the slow path",
            remedy="install a kernel of 5.9 or later, better 6.3, which tells what drivers can do",
        )
    else:
        yield _KERNEL.ok(f"Linux {release}")


def release() -> str:
    """The running kernel's release."""
    return platform.release()


async def look_at_tproxy(config: Config) -> Tproxy | None:
    """Have nft and the kernel check the return path's rules, changing nothing; None: no service needs them."""
    services = transparent_services(config)
    endpoints = [
        (str(server.address), port)
        for service in services
        for server in service.real_servers
        for port in server_ports(service, server)
    ]
    if not endpoints:
        return None
    families = {AF_INET6 if service.address.version == 6 else AF_INET for service in services}
    try:
        await ask("nft", "--check", "--file", "-", stdin=ruleset(endpoints, dict.fromkeys(families, _ANY_PORT)))
        await ask("ip", "rule", "show")
    except Denied:
        return Tproxy(denied=True)
    except CommandError as error:
        return Tproxy(failure=str(error))
    return Tproxy()


def judge_tproxy(found: Tproxy) -> Iterator[Diagnosis]:
    """Whether the answers of transparent services' real servers can be brought back."""
    if found.denied:
        yield _TPROXY.unchecked("whether nftables takes the rules of transparent services")
    elif found.failure:
        yield _TPROXY.fail(
            f"the return path of transparent services cannot be made: {found.failure}",
            remedy="install nftables and iproute2, and load the kernel's tproxy",
            command="apt install nftables iproute2; modprobe -a nft_tproxy nft_fib_inet",
        )
    else:
        yield _TPROXY.ok("nftables takes the rules of transparent services (tproxy)")


def _version(release: str) -> tuple[int, int]:
    major, _, rest = release.partition(".")
    minor = "".join(character for character in rest.partition(".")[0] if character.isdigit())
    return (int(major), int(minor)) if major.isdigit() and minor else (0, 0)
