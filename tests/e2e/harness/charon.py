"""strongSwan: one charon in one namespace, configured and asked over VICI."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from harness.certificates import Authority, KeyKind
from harness.namespaces import Namespace, end
from harness.requirements import CHARON
from harness.socket_room import give_room
from harness.vici import Value, Vici, ViciError
from harness.waiting import eventually

# kernel-libipsec does ESP in user space and always in UDP; it must be loaded before kernel-netlink.
_PLUGINS = (
    "random nonce openssl aes sha1 sha2 hmac kdf gcm curve25519 pem pkcs1 pkcs8 pubkey x509 constraints "
    "kernel-libipsec kernel-netlink socket-default vici counters"
)
_SETTINGS = """
charon-systemd {{
  load = {plugins}
  threads = 16
  half_open_timeout = 5
  keep_alive = {keep_alive_s}s
  retransmit_timeout = 0.5
  retransmit_base = 1.5
  retransmit_tries = 4
  plugins {{
    vici {{
      socket = unix://{socket}
    }}
  }}
  journal {{
    default = -1
  }}
  filelog {{
    file {{
      path = {log}
      time_format = %H:%M:%S
      time_add_ms = yes
      ike_name = yes
      flush_line = yes
      default = 1
    }}
  }}
}}
"""
PSK = "end-to-end"


class ChildSa(msgspec.Struct, frozen=True, rename="kebab"):
    """A CHILD_SA as charon lists it; counters are packets."""

    state: str
    spi_in: str = ""
    spi_out: str = ""
    packets_in: int = 0
    packets_out: int = 0


class IkeSa(msgspec.Struct, frozen=True, rename="kebab"):
    """An IKE_SA as charon lists it."""

    uniqueid: str
    state: str
    local_host: str
    local_port: int
    remote_host: str
    remote_port: int
    initiator_spi: str
    responder_spi: str
    remote_id: str = ""
    local_vips: list[str] = []
    tasks_queued: list[str] = []
    tasks_active: list[str] = []
    child_sas: dict[str, ChildSa] = {}

    @property
    def children(self) -> list[ChildSa]:
        """The CHILD_SAs that carry data now."""
        return [child for child in self.child_sas.values() if child.state == "INSTALLED"]

    @property
    def settled(self) -> bool:
        """Whether it is up and no exchange is under way."""
        return self.state == "ESTABLISHED" and not self.tasks_queued and not self.tasks_active


class Charon:
    """One IKE daemon."""

    def __init__(self, namespace: Namespace, directory: Path, keep_alive_s: int = 20) -> None:
        """`keep_alive_s`: how often it keeps a NAT before it from forgetting an idle tunnel."""
        self.namespace = namespace
        self.log = directory / "charon.log"
        self._socket = directory / "vici.sock"
        self.settings = directory / "strongswan.conf"
        """Read by the daemon when it starts."""
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True)
        self.settings.write_text(
            _SETTINGS.format(plugins=_PLUGINS, socket=self._socket, log=self.log, keep_alive_s=keep_alive_s)
        )

    @property
    def running(self) -> bool:
        """Whether the daemon lives."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the daemon without waiting for it."""
        self._socket.unlink(missing_ok=True)
        env = {"STRONGSWAN_CONF": str(self.settings)}
        self._process = self.namespace.spawn(CHARON, log=self.log, env=env)

    def await_ready(self) -> None:
        """Wait until the daemon takes commands; data is not lost in its sockets while it waits for the processor."""
        eventually(self._answers, f"charon of {self.namespace.name} answers (see {self.log})", timeout_s=10)
        assert self._process
        give_room(self._process.pid)

    def kill(self) -> None:
        """End the daemon at once; its peers hear nothing of it."""
        if self._process:
            end(self._process, signal.SIGKILL)
            self._process = None

    def hang(self) -> None:
        """Have the daemon stand still until `wake`, and with it all data: it encrypts in user space."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Have the daemon go on, if it hangs."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def close_all(self) -> None:
        """Drop every IKE_SA, telling the peer once and not waiting for its answer."""
        if not self.running:
            return
        with self.vici() as vici:
            for sa in self.sas():
                # One that its peer has closed since it was listed is there no more.
                with suppress(ViciError):
                    vici.request("terminate", {"ike-id": sa.uniqueid, "force": "yes", "timeout": -1})
        eventually(lambda: not self.sas(), f"the IKE_SAs of {self.namespace.name} are gone")

    def vici(self) -> Vici:
        """A control connection."""
        return Vici(self._socket)

    def load(
        self,
        authority: Authority,
        kinds: Iterable[KeyKind],
        connections: Mapping[str, Value],
        pools: Mapping[str, Value],
    ) -> None:
        """Load the authority's certificate, keys of these kinds, the pre-shared key, pools and connections."""
        with self.vici() as vici:
            vici.request("load-cert", {"type": "X509", "flag": "CA", "data": authority.certificate})
            for kind in kinds:
                vici.request("load-key", {"type": "any", "data": authority.key(kind)})
            vici.request("load-shared", {"id": "psk", "type": "IKE", "data": PSK})
            for name, pool in pools.items():
                vici.request("load-pool", {name: pool})
            for name, connection in connections.items():
                vici.request("load-conn", {name: connection})

    def sas(self) -> list[IkeSa]:
        """All IKE_SAs, oldest first."""
        with self.vici() as vici:
            listed = vici.stream("list-sas", "list-sa")
        return [msgspec.convert(sa, IkeSa, strict=False) for item in listed for sa in item.values()]

    def counter(self, name: str) -> int:
        """One of charon's counters over all connections, such as `info-out-req`."""
        with self.vici() as vici:
            return int(vici.request("get-counters")["counters"][""][name])

    def _answers(self) -> bool:
        try:
            with self.vici() as vici:
                vici.request("version")
        except OSError:
            if not self.running:
                raise AssertionError(f"charon ended at once: {self.log.read_text()[-2000:]}") from None
            return False
        return True
