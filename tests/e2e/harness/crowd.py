"""Many people of one office: IKE SAs from addresses of their own, out of one charon, all behind the same NAT."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.certificates import SERVER_IDENTITY, Authority
from harness.peers import ESP_PROPOSALS, IKE_PROPOSALS, Client, Profile
from harness.plan import BEHIND_NETWORK, HOME, Family, server_of
from harness.vici import Value
from harness.waiting import eventually

_FIRST_HOST = 100


@dataclass(frozen=True, slots=True)
class Crowd:
    """A client's charon that stands for many."""

    client: Client
    count: int
    authority: Authority

    def connect(self, address: str) -> Counter[str]:
        """Set all tunnels up to the service at `address`; how many each server has."""
        names = [f"p{number}" for number in range(self.count)]
        connections = {
            name: self._connection(name, HOME.host(_FIRST_HOST + number)[Family.IPV4], address)
            for number, name in enumerate(names)
        }
        self.client.charon.load(self.authority, (), connections, {})
        with self.client.charon.vici() as vici:
            for name in names:
                vici.request("initiate", {"ike": name, "child": "net", "timeout": 20_000})
        eventually(lambda: len(self._up()) == self.count, f"{self.count} tunnels are up")
        return Counter(map(server_of, self._up()))

    def _up(self) -> list[str]:
        """The virtual addresses of those that are up."""
        return [sa.local_vips[0] for sa in self.client.charon.sas() if sa.settled and sa.children and sa.local_vips]

    @staticmethod
    def _connection(name: str, own: str, service: str) -> Value:
        return {
            "version": "2",
            "local_addrs": [own],
            "remote_addrs": [service],
            "proposals": IKE_PROPOSALS,
            "vips": ["0.0.0.0"],
            "local": {"auth": "psk", "id": f"{name}@{Profile.PSK.domain}"},
            "remote": {"auth": "psk", "id": SERVER_IDENTITY},
            "children": {"net": {"remote_ts": [BEHIND_NETWORK], "esp_proposals": ESP_PROPOSALS}},
        }


@contextmanager
def crowd(client: Client, count: int, authority: Authority) -> Iterator[Crowd]:
    """Give a client behind the NAT so many addresses more while the block runs."""
    addresses = [HOME.host(_FIRST_HOST + number)[Family.IPV4] for number in range(count)]
    length = HOME.v4.prefixlen
    client.node.namespace.ip(*(f"addr add {address}/{length} dev eth0" for address in addresses))
    try:
        yield Crowd(client, count, authority)
    finally:
        client.charon.close_all()
        client.node.namespace.ip(*(f"addr del {address}/{length} dev eth0" for address in addresses))
