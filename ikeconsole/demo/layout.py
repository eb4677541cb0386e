"""Where the demo's services, real servers and clients are on loopback, and the configuration that says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import tomli_w

from engine.net.sockets import BindError, listener
from ikeconsole.demo.client import Entrance

SERVICE_ADDRESSES: Final = {"always-on-vpn": "127.0.0.11", "partners": "127.0.0.12"}
REAL_SERVER_ADDRESSES: Final = {
    "always-on-vpn": {"rras-1": "127.0.0.21", "rras-2": "127.0.0.22", "rras-3": "127.0.0.23"},
    "partners": {"gateway-1": "127.0.0.24"},
}
SNAT_POOL: Final = "127.0.0.31-127.0.0.32"

_PORT_BASES: Final = range(10_000, 30_000, 1_000)
"""500 and 4500 are added; the sums lie below the ports that the kernel gives to anyone who asks for any."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One run of the demo: its directory and its ports."""

    directory: Path
    ike_port: int
    nat_t_port: int

    @property
    def control_socket(self) -> Path:
        """The engine's control socket."""
        return self.directory / "control.sock"

    @property
    def config_file(self) -> Path:
        """The engine's configuration."""
        return self.directory / "config.toml"

    def entrance(self, service: str) -> Entrance:
        """Where a service takes clients."""
        return Entrance(SERVICE_ADDRESSES[service], self.ike_port, self.nat_t_port)

    def write_configuration(self) -> None:
        """Write the engine's configuration."""
        tables = {
            "engine": {
                "control_socket": str(self.control_socket),
                "state_dir": str(self.directory / "state"),
                "fast_path": "off",
            },
            "service": [self._service(name, address) for name, address in SERVICE_ADDRESSES.items()],
        }
        self.config_file.write_text(tomli_w.dumps(tables), encoding="utf-8")

    def _service(self, name: str, address: str) -> dict[str, Any]:
        return {
            "name": name,
            "address": address,
            "ike_port": self.ike_port,
            "nat_t_port": self.nat_t_port,
            "source": "snat",
            "snat_addresses": [SNAT_POOL],
            "persistence_timeout": "1m",
            # Everything happens in seconds that in life takes minutes.
            "timeouts": {"half_open": "10s", "ike_idle": "15s", "nat_t_idle": "40s", "spi_binding": "1m"},
            "health": {"interval": "1s", "timeout": "500ms", "fall": 2, "rise": 2},
            "real_server": [
                {"name": server, "address": address} for server, address in REAL_SERVER_ADDRESSES[name].items()
            ],
        }


def choose_ports() -> tuple[int, int]:
    """Find an IKE port and a NAT-T port that nobody uses at any address of the demo; raises BindError."""
    servers = [address for servers in REAL_SERVER_ADDRESSES.values() for address in servers.values()]
    addresses = [*SERVICE_ADDRESSES.values(), *servers]
    refusal = None
    for base in _PORT_BASES:
        ike_port, nat_t_port = base + 500, base + 4500
        try:
            for address in addresses:
                listener(address, ike_port).close()
                listener(address, nat_t_port).close()
        except BindError as error:
            refusal = error
        else:
            return ike_port, nat_t_port
    raise BindError(f"the demo finds no free pair of ports on loopback; the last one tried: {refusal}")


def client_addresses() -> Iterator[str]:
    """Addresses for clients, from 127.0.100.1 on; the first comes again after 25 000 others."""
    return cycle(f"127.0.{100 + subnet}.{host}" for subnet in range(100) for host in range(1, 251))
