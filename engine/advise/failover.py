"""How soon clients notice that their real server is gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.advise.facts import ServerFacts, ServiceFacts
from engine.advise.products import Product
from engine.advise.snippets import swanctl
from engine.control.records import Advice
from engine.wording import count

STRONGSWAN_GIVES_UP_S: Final = 165
"""strongswan.conf(5), IKEV2 RETRANSMISSION: the sum of 4.0 s times 1.8 to the power of 0 to 5."""


def failover(service: ServiceFacts, server: ServerFacts) -> Iterator[Advice]:
    """strongSwan clients of a server that went down, whose defaults let them wait for minutes."""
    if not server.downs or server.product is not Product.STRONGSWAN or len(service.servers) < 2:
        return
    yield Advice(
        topic="failover",
        severity="consider",
        service=service.name,
        server=server.name,
        what="Let strongSwan clients notice sooner that their server is gone.",
        why=f"{server.name} went down {count(server.downs, 'time')} lately. A client without dpd_delay notices only "
        f"when it has something to say, and then asks for {STRONGSWAN_GIVES_UP_S} s before it begins anew, on another "
        "server.",
        check="After `swanctl --load-conns` there, unplug one client's server: it reconnects within 40 s.",
        snippets=[
            swanctl("in swanctl.conf on the clients", _DPD),
            swanctl("in strongswan.conf on the clients", _RETRANSMISSION),
        ],
    )


_DPD = """\
connections {
    NAME {
        dpd_delay = 10s
        children {
            NAME {
                dpd_action = restart
            }
        }
    }
}"""
_RETRANSMISSION = """\
charon {
    # gives up after 24 s instead of 165 s
    retransmit_timeout = 2.0
    retransmit_tries = 3
}"""
