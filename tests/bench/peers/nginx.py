"""nginx's stream module with one worker, as an operator would set it up for IKE: as it comes, and tuned."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from engine.config.schema import FastPath, Source

from ..processes import FORWARDER_CORE, Process, run, running
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
    proxy_bind {proxy_bind};
    proxy_timeout 10m;
    server {{ listen {service}:500 udp; proxy_pass ike; }}
    server {{ listen {service}:4500 udp; proxy_pass nat_t; }}
}}
"""
PROXY_BINDS = {Source.SNAT: "$source_address", Source.TRANSPARENT: "$remote_addr:$remote_port transparent"}

# nginx leaves it to its operator to bring answers to the clients' addresses into its sockets.
MARK, ROUTE_TABLE = "0x1ce", "466"
RETURN_RULES = f"""\
table ip nginx {{
  chain return_path {{
    type filter hook prerouting priority mangle;
    ip saddr {{ {", ".join(REAL_SERVERS)} }} udp sport {{ 500, 4500 }} socket transparent 1 meta mark set {MARK}
  }}
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
    def forwarding(self, bed: Testbed, source: Source, fast_path: FastPath = FastPath.OFF) -> Iterator[Process]:
        """Run nginx in the balancer's namespace; the block starts when both ports are bound."""
        directory = Path(tempfile.mkdtemp(prefix="nginx-", dir=bed.directory))
        configuration = directory / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                multi_accept="on" if self.multi_accept else "off",
                module="/usr/lib/nginx/modules/ngx_stream_module.so",
                directory=directory,
                proxy_bind=PROXY_BINDS[source],
                service=SERVICE_ADDRESS,
                sources="\n".join(_split_evenly(SNAT_ADDRESSES)),
                ike_servers=" ".join(f"server {address}:500;" for address in REAL_SERVERS),
                nat_t_servers=" ".join(f"server {address}:4500;" for address in REAL_SERVERS),
            )
        )
        command = [shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(directory), "-c", str(configuration)]
        log = directory / "output.log"
        return_path = _return_path(bed.balancer) if source is Source.TRANSPARENT else nullcontext()
        with return_path, running(bed.balancer, FORWARDER_CORE, command, log=log) as process:
            process.await_udp_port(SERVICE_ADDRESS, 500)
            process.await_udp_port(SERVICE_ADDRESS, 4500)
            yield process


AS_PACKAGED = Nginx("nginx", multi_accept=False)
TUNED = Nginx("nginx-tuned", multi_accept=True)


@contextmanager
def _return_path(namespace: str) -> Iterator[None]:
    rule = ("fwmark", MARK, "lookup", ROUTE_TABLE)
    route = ("local", "default", "dev", "lo", "table", ROUTE_TABLE)
    inside = ("ip", "netns", "exec", namespace, "nft")
    with ExitStack() as stack:
        run("ip", "-n", namespace, "rule", "add", *rule)
        stack.callback(run, "ip", "-n", namespace, "rule", "del", *rule)
        run("ip", "-n", namespace, "route", "add", *route)
        stack.callback(run, "ip", "-n", namespace, "route", "del", *route)
        run(*inside, "-f", "-", stdin=RETURN_RULES)
        stack.callback(run, *inside, "delete", "table", "ip", "nginx")
        yield


def _split_evenly(addresses: tuple[str, ...]) -> list[str]:
    share = 100 / len(addresses)
    return [*(f"        {share}% {address};" for address in addresses[:-1]), f"        * {addresses[-1]};"]
