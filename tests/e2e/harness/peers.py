"""The two ends of a tunnel: VPN servers and roaming clients, each a charon with a fitting configuration."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from pathlib import Path

from harness.certificates import SERVER_IDENTITY, Authority, KeyKind
from harness.charon import Charon, ChildSa, IkeSa
from harness.namespaces import end
from harness.plan import BEHIND, BEHIND_NETWORK, server_of, virtual_pool
from harness.topology import Node
from harness.vici import Value
from harness.waiting import eventually

IKE_PROPOSALS = ["aes128gcm16-prfsha256-x25519"]
IKE_SCAN_PROPOSALS = ["aes256-aes128-3des-sha1-md5-modp1024"]
"""The newest that ike-scan can offer; servers take it besides."""
ESP_PROPOSALS = ["aes128gcm16"]
LATEST_ANSWER_S = 2
"""An answer that has not come by then counts as lost."""


class Profile(Enum):
    """How a client proves itself, and so how big its IKE_AUTH is."""

    CERT = KeyKind.ECDSA
    """A small certificate: one packet."""
    BIG_CERT = KeyKind.RSA
    """A big certificate without IKE fragmentation: several IP fragments."""
    PSK = None
    """A pre-shared key."""

    @property
    def domain(self) -> str:
        """The domain of the identities that use this profile."""
        return f"{self.name.lower().replace('_', '-')}.test"


def _proof(authority: Authority, identity: str, profile: Profile) -> Value:
    """How the holder of an identity proves it: the `local` section of a connection."""
    if profile.value is None:
        return {"auth": "psk", "id": identity}
    return {"auth": "pubkey", "certs": [authority.issue(identity, profile.value)], "id": identity}


def _demand(identity: str, profile: Profile) -> Value:
    """What the other side must prove: the `remote` section of a connection."""
    return {"auth": "psk" if profile is Profile.PSK else "pubkey", "id": identity}


class Server:
    """A VPN server behind the balancer."""

    def __init__(self, node: Node, number: int, directory: Path, authority: Authority) -> None:
        self.node = node
        self.charon = Charon(node.namespace, directory)
        self._pool = virtual_pool(number)
        self._authority = authority

    def configure(self) -> None:
        """Make the running daemon a server of every profile."""
        connections = {profile.name: self._connection(profile) for profile in Profile}
        self.charon.load(self._authority, tuple(KeyKind), connections, {"pool": {"addrs": self._pool}})

    def start(self) -> None:
        """Start the daemon and configure it."""
        self.charon.launch()
        self.charon.await_ready()
        self.configure()

    def sa_of(self, client: Client) -> IkeSa:
        """The one IKE_SA a client has here."""
        (found,) = [sa for sa in self.charon.sas() if sa.remote_id.startswith(f"{client.node.name}@")]
        return found

    def rekey(self, client: Client, what: str) -> None:
        """Let the server rekey a client's `child` or `ike` SA of its own accord."""
        which: dict[str, Value] = {"child": "net"} if what == "child" else {}
        self._command("rekey", client, which)

    def delete(self, client: Client) -> None:
        """Let the server close a client's tunnel."""
        self._command("terminate", client, {})

    def _command(self, command: str, client: Client, which: Mapping[str, Value]) -> None:
        with self.charon.vici() as vici:
            vici.request(command, {"ike-id": self.sa_of(client).uniqueid, **which})

    def _connection(self, profile: Profile) -> Value:
        return {
            "version": "2",
            "remote_addrs": ["%any"],
            "proposals": [*IKE_PROPOSALS, *IKE_SCAN_PROPOSALS],
            "pools": ["pool"],
            "send_cert": "always",
            "fragmentation": "no" if profile is Profile.BIG_CERT else "yes",
            # Only here: most tests want silence, and one wants the server to speak first.
            "dpd_delay": "1s" if profile is Profile.PSK else "0s",
            "local": _proof(self._authority, SERVER_IDENTITY, profile),
            "remote": _demand(f"*@{profile.domain}", profile),
            "children": {"net": {"local_ts": [BEHIND_NETWORK], "esp_proposals": ESP_PROPOSALS}},
        }


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A client's tunnel at one moment."""

    sa: IkeSa
    child: ChildSa

    @property
    def virtual_address(self) -> str:
        """What the server gave the client."""
        return self.sa.local_vips[0]

    @property
    def server(self) -> str:
        """The name of the server at the other end."""
        return server_of(self.virtual_address)


@dataclass(frozen=True, slots=True)
class PingResult:
    """What became of a series of packets, numbered from 1."""

    answered: frozenset[int]
    silence_s: float
    """The longest time between two answers; when all is well, that between two packets."""

    @property
    def gaps(self) -> frozenset[int]:
        """Packets without an answer, though a later one has it; so those still under way do not count."""
        return frozenset(range(1, max(self.answered, default=0))) - self.answered


def read_answers(said: str) -> PingResult:
    """What `ping -n -D` said of a series."""
    answers = re.findall(r"^\[(\d+\.\d+)\] .* icmp_seq=(\d+) ttl", said, re.MULTILINE)
    times_s = [float(at) for at, _ in answers]
    silence_s = max((later - earlier for earlier, later in pairwise(times_s)), default=0.0)
    return PingResult(frozenset(int(number) for _, number in answers), silence_s)


class Ping:
    """A ping through a tunnel, running until `finish`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def await_answers(self, count: int, timeout_s: float = 5) -> None:
        """Wait until so many packets more than now are answered."""
        wanted = len(self._answered) + count
        eventually(lambda: len(self._answered) >= wanted, f"{count} more packets are answered", timeout_s)

    @property
    def _answered(self) -> frozenset[int]:
        return read_answers(self._log.read_text()).answered

    def finish(self) -> PingResult:
        """Stop it and count."""
        end(self._process, signal.SIGINT)
        return read_answers(self._log.read_text())

    def abandon(self) -> None:
        """Stop it, if it runs."""
        end(self._process, signal.SIGKILL)


class Client:
    """A roaming client: what a person's laptop is."""

    def __init__(self, node: Node, directory: Path, authority: Authority) -> None:
        self.node = node
        # The NATs of tests forget nothing; but keepalives must come while a test waits for them.
        self.charon = Charon(node.namespace, directory, keep_alive_s=1 if node.behind_nat else 20)
        self._directory = directory
        self._authority = authority

    def connect(
        self,
        address: str,
        profile: Profile = Profile.PSK,
        *,
        dpd_delay_s: int = 0,
        timeout_s: float = 8,
        proposals: Sequence[str] = IKE_PROPOSALS,
        identity: str = "",
    ) -> Tunnel:
        """Set a tunnel up to the service at `address`; raises ViciError when it cannot be had in time."""
        connection: Value = {
            "version": "2",
            "remote_addrs": [address],
            "proposals": list(proposals),
            "vips": ["0.0.0.0"],
            "send_cert": "always",
            "fragmentation": "no" if profile is Profile.BIG_CERT else "yes",
            "dpd_delay": f"{dpd_delay_s}s",
            "local": _proof(self._authority, identity or f"{self.node.name}@{profile.domain}", profile),
            "remote": _demand(SERVER_IDENTITY, profile),
            "children": {"net": {"remote_ts": [BEHIND_NETWORK], "esp_proposals": ESP_PROPOSALS}},
        }
        kinds = (profile.value,) if profile.value else ()
        self.charon.load(self._authority, kinds, {"vpn": connection}, {})
        with self.charon.vici() as vici:
            vici.request("initiate", {"ike": "vpn", "child": "net", "timeout": int(timeout_s * 1000)})
        return self.tunnel()

    def tunnel(self) -> Tunnel:
        """The newest tunnel that is up; AssertionError when there is none."""
        for sa in reversed(self.charon.sas()):
            if sa.state == "ESTABLISHED" and sa.children and sa.local_vips:
                return Tunnel(sa, sa.children[-1])
        raise AssertionError(f"{self.node.name} has no tunnel: {self.charon.sas()}")

    def rekey(self, what: str) -> Tunnel:
        """Rekey the `child` or the `ike` SA; the tunnel when it is done."""
        before = self.tunnel()
        with self.charon.vici() as vici:
            vici.request("rekey", {what: "net" if what == "child" else "vpn"})
        return self.await_change(before, what)

    def await_change(self, before: Tunnel, what: str) -> Tunnel:
        """Wait until the `child` or the `ike` SA is another than before; the tunnel then."""

        def changed() -> Tunnel | None:
            settled = [sa for sa in self.charon.sas() if sa.settled and sa.children]
            if len(settled) != 1 or len(settled[0].children) != 1:
                return None
            now = Tunnel(settled[0], settled[0].children[0])
            if what == "child":
                return now if now.child.spi_in != before.child.spi_in else None
            return now if now.sa.initiator_spi != before.sa.initiator_spi else None

        found = eventually(changed, f"{self.node.name}: the {what} SA is rekeyed", timeout_s=8)
        assert found
        return found

    def start_ping(self, interval_s: float = 0.02) -> Ping:
        """Begin to ping what lies behind the servers, through the tunnel."""
        log = self._directory / "ping.log"
        log.unlink(missing_ok=True)
        argv = ["ping", "-n", "-D", "-i", str(interval_s), "-W", "1", "-I", self.tunnel().virtual_address]
        return Ping(self.node.namespace.spawn(*argv, BEHIND, log=log), log)

    def ping(self, count: int) -> PingResult:
        """Send so many packets to what lies behind the servers, through the tunnel; what became of them.

        With a deadline ping goes on until so many are answered. Without one it waits for the last for only twice as
        long as an answer took before (ping(8), -W): a packet that was late for a busy machine would count as lost.
        """
        said = self.node.namespace.run(
            *("ping", "-n", "-D", "-c", str(count), "-i", "0.02", "-w", str(LATEST_ANSWER_S)),
            *("-I", self.tunnel().virtual_address, BEHIND),
            check=False,
        )
        answers = read_answers(said)
        return replace(answers, answered=answers.answered & frozenset(range(1, count + 1)))

    def await_data(self) -> None:
        """Wait until data passes the tunnel; charon drops packets while it exchanges its SAs in user space."""
        eventually(lambda: len(self.ping(5).answered) == 5, f"data passes the tunnel of {self.node.name}")
