"""nginx's stream module with one worker, as an operator would set it up for IKE: as it comes, and tuned."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..processes import FORWARDER_CORE, Process, running
from ..testbed import REAL_SERVERS, SERVICE_ADDRESS, SNAT_ADDRESSES, Testbed

CONFIGURATION = """\
load_module {module};
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
events {{ worker_connections 262144; multi_accept {multi_accept}; }}
stream {{
    split_clients $remote_addr $source_address {{
{sources}
    }}
    upstream ike {{ hash $remote_addr; {ike_servers} }}
    upstream nat_t {{ hash $remote_addr; {nat_t_servers} }}
    proxy_bind $source_address;
    proxy_timeout 10m;
    server {{ listen {service}:500 udp; proxy_pass ike; }}
    server {{ listen {service}:4500 udp; proxy_pass nat_t; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """One nginx configuration; `multi_accept` lets a wake-up empty a listening socket instead of reading it once."""

    NAME: str
    multi_accept: bool
    TARGET: str = SERVICE_ADDRESS

    def version(self) -> str:
        """The version nginx tells."""
        told = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
        return told.strip().rpartition(" ")[2]

    @contextmanager
    def forwarding(self, bed: Testbed) -> Iterator[Process]:
        """Run nginx in the balancer's namespace; the block starts when both ports are bound."""
        directory = Path(tempfile.mkdtemp(prefix="nginx-", dir=bed.directory))
        configuration = directory / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                multi_accept="on" if self.multi_accept else "off",
                module="/usr/lib/nginx/modules/ngx_stream_module.so",
                directory=directory,
                service=SERVICE_ADDRESS,
                sources="\n".join(_split_evenly(SNAT_ADDRESSES)),
                ike_servers=" ".join(f"server {address}:500;" for address in REAL_SERVERS),
                nat_t_servers=" ".join(f"server {address}:4500;" for address in REAL_SERVERS),
            )
        )
        command = [shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(directory), "-c", str(configuration)]
        log = directory / "output.log"
        with running(bed.balancer, FORWARDER_CORE, command, log=log) as process:
            process.await_udp_port(SERVICE_ADDRESS, 500)
            process.await_udp_port(SERVICE_ADDRESS, 4500)
            yield process


AS_PACKAGED = Nginx("nginx", multi_accept=False)
TUNED = Nginx("nginx-tuned", multi_accept=True)


def _split_evenly(addresses: tuple[str, ...]) -> list[str]:
    share = 100 / len(addresses)
    return [*(f"        {share}% {address};" for address in addresses[:-1]), f"        * {addresses[-1]};"]
