"""Services and real servers as advice is drawn from them: by default there is nothing to say of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from netaddr import IPAddress

from engine.advise.facts import Fragmentation, Office, ServerFacts, ServiceFacts
from engine.advise.products import Product
from engine.advise.routes import Route
from engine.config.schema import RealServer, Service, Source
from engine.sessions.invariants import FragmentedAuth

FRAGMENTED = FragmentedAuth(
    host="198.51.100.7", server="rras-2", size_bytes=2344, inward=True, client_offers=True, server_agrees=False
)


def server_facts(name: str = "rras-1", address: str = "10.0.0.11", **facts: Any) -> ServerFacts:
    """A real server; what begins with `config_` is of its configuration."""
    config = RealServer(name=name, address=IPAddress(address), **_configured(facts))
    return ServerFacts(config=config, **_seen(facts))


def service_facts(*servers: ServerFacts, name: str = "always-on-vpn", **facts: Any) -> ServiceFacts:
    """A service with these real servers; what begins with `config_` is of its configuration."""
    config = Service(
        name=name,
        address=IPAddress("203.0.113.10"),
        real_servers=[server.config for server in servers],
        **_configured(facts),
    )
    return ServiceFacts(config=config, servers=servers, **_seen(facts))


def _configured(facts: dict[str, Any]) -> dict[str, Any]:
    return {key.removeprefix("config_"): value for key, value in facts.items() if key.startswith("config_")}


def _seen(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if not key.startswith("config_")}


FACTS = [
    service_facts(
        server_facts(
            "rras-1",
            product=Product.WINDOWS,
            sessions=603,
            unanswered=12,
            fragmentation=Fragmentation.BOTH,
            config_max_sessions=1500,
            route=Route("10.0.0.1", ""),
        ),
        server_facts(
            "rras-2",
            "10.0.0.12",
            product=Product.WINDOWS,
            sessions=601,
            packets_in=280_000,
            packets_out=480_000,
            fragmentation=Fragmentation.SERVER_LACKS,
            route=Route("10.0.0.1", ""),
        ),
        server_facts("rras-3", "10.0.0.13", health="down"),
        office=Office("203.0.113.77", 412, ("rras-1",)),
        fragmented=FRAGMENTED,
        violations=Counter({"auth-fragmented": 31}),
    ),
    service_facts(
        server_facts("sswan-1", "10.0.9.21", sessions=88, source_use={"10.0.9.1": 80, "10.0.9.2": 8}),
        name="partners",
        config_source=Source.SNAT,
    ),
]
"""What there is to say of the services that the fake engine has."""
