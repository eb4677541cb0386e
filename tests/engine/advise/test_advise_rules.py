"""Each piece of advice is given for its fact, with its numbers, and not without it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from advice_facts import FACTS, FRAGMENTED, server_facts, service_facts

from engine.advise.adviser import advise
from engine.advise.facts import Fragmentation, Office, ServiceFacts
from engine.advise.products import Product
from engine.advise.routes import Route
from engine.config.load import parse
from engine.config.schema import (
    AdminState,
    Duration,
    Health,
    HealthKind,
    IkeProbe,
    PersistenceKind,
    SchedulerKind,
    Source,
    Timeouts,
)
from engine.control.records import Advice

SNAT = Source.SNAT
ANSWERING: dict[str, Any] = {"packets_in": 10, "packets_out": 10}
"""A transparent server whose answers come back: there is nothing to set."""
WINDOWS, STRONGSWAN = Product.WINDOWS, Product.STRONGSWAN


def topics(*services: ServiceFacts) -> set[tuple[str, str]]:
    """What there is to set, with its urgency; what is well is left out."""
    return {(one.topic, one.severity) for one in advise(services) if one.severity != "well"}


def the(topic: str, *services: ServiceFacts) -> Advice:
    (found,) = [one for one in advise(services) if one.topic == topic]
    return found


def transparent(**facts: Any) -> ServiceFacts:
    return service_facts(server_facts(**facts))


def snat(sources: dict[str, int], **facts: Any) -> ServiceFacts:
    server = server_facts(source_use=sources, sessions=sum(sources.values()), **facts)
    return service_facts(server, config_source=SNAT)


def two(*, service: dict[str, Any] | None = None, **facts: Any) -> ServiceFacts:
    """A service of two servers that are alike."""
    servers = [
        server_facts(name, address, **ANSWERING | facts) for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2"))
    ]
    return service_facts(*servers, **(service or {}))


def languages(advice: Advice) -> list[str]:
    return [snippet.language for snippet in advice.snippets]


def test_nothing_is_said_of_what_works_and_is_small() -> None:
    assert topics(two()) == set()


def test_the_default_gateway_is_named_when_clients_get_no_answer() -> None:
    advice = the("return-path", transparent(product=WINDOWS, unanswered=12, route=Route("10.0.0.1", "")))
    assert advice.severity == "do"
    assert advice.what == "Make this balancer, 10.0.0.1, the default gateway of rras-1."
    assert advice.why.startswith("12 clients asked rras-1 again and again and got no answer, while probes are answered")
    assert languages(advice) == ["powershell"]
    assert 'NextHop = "10.0.0.1"' in advice.snippets[0].text
    assert "Find-NetRoute" in advice.check


def test_a_linux_server_gets_commands_of_linux_and_an_unknown_one_both() -> None:
    route = Route("2001:db8::1", "")
    linux = the("return-path", transparent(product=STRONGSWAN, unanswered=1, route=route))
    assert languages(linux) == ["shell"]
    assert "ip -6 route replace default via 2001:db8::1" in linux.snippets[0].text
    assert languages(the("return-path", transparent(unanswered=1, route=route))) == ["powershell", "shell"]
    assert languages(the("return-path", transparent(product=Product.OTHER, unanswered=1, route=route))) == []


def test_behind_a_router_it_is_the_router_that_must_send_answers_here() -> None:
    facts = transparent(unanswered=1, route=Route("10.9.0.2", "10.9.0.1"), config_ike_port=1500)
    advice = the("return-path", facts)
    assert advice.what == "Have the router 10.9.0.1 send here, to 10.9.0.2, what rras-1 answers to clients."
    (snippet,) = advice.snippets
    assert "ip route replace default via 10.9.0.2 table 500" in snippet.text
    assert "server=10.0.0.11\nfor port in 1500 4500; do" in snippet.text


def test_an_unknown_route_leaves_the_address_out() -> None:
    advice = the("return-path", transparent(unanswered=1))
    assert (advice.what, advice.snippets) == ("Make this balancer the default gateway of rras-1.", [])


def test_the_return_path_is_a_consideration_until_answers_were_seen() -> None:
    assert "No client was sent" in the("return-path", transparent()).why
    waiting = the("return-path", transparent(packets_in=3))
    assert (waiting.severity, waiting.why) == (
        "consider",
        "3 packets of clients went to rras-1, and none came back yet.",
    )
    well = the("return-path", transparent(packets_in=1000, packets_out=2000))
    assert (well.severity, well.why) == ("well", "2 000 packets came back, 1 000 went there.")


@pytest.mark.parametrize(
    "facts",
    [
        transparent(health="down"),
        transparent(config_state=AdminState.DISABLED),
        service_facts(server_facts(packets_in=3), config_source=SNAT),
    ],
)
def test_nothing_is_said_of_the_way_back_where_none_is_to_be_expected(facts: ServiceFacts) -> None:
    assert topics(facts) == set()


@pytest.mark.parametrize(
    ("product", "sessions", "severity"),
    [
        (WINDOWS, 10, "well"),
        (WINDOWS, 11, "consider"),
        (WINDOWS, 30, "do"),
        (STRONGSWAN, 5, "well"),
        (STRONGSWAN, 6, "consider"),
        (STRONGSWAN, 30, "do"),
        (Product.UNKNOWN, 6, "consider"),
    ],
)
def test_crowded_source_addresses_are_told_by_what_the_product_takes(
    product: Product, sessions: int, severity: str
) -> None:
    assert the("source-limit", snat({"10.0.9.1": sessions, "10.0.9.2": 1}, product=product)).severity == severity


def test_limits_of_windows_and_strongswan_are_raised_with_their_own_settings() -> None:
    windows = the("source-limit", snat({"10.0.9.1": 240}, product=WINDOWS))
    assert "240 sessions of rras-1 come from 10.0.9.1" in windows.why
    assert "IkeNumEstablishedForInitialQuery" in windows.snippets[0].text
    assert windows.snippets[0].text.endswith("Restart-Service IKEEXT")
    strongswan = the("source-limit", snat({"10.0.9.1": 240}, product=STRONGSWAN))
    assert "block_threshold = 500" in strongswan.snippets[0].text
    assert "cookie_threshold_ip = 500" in strongswan.snippets[0].text


def test_source_addresses_are_no_matter_where_clients_keep_theirs_or_the_product_is_another() -> None:
    assert topics(service_facts(server_facts(source_use={"10.0.9.1": 99}, **ANSWERING))) == set()
    assert ("source-limit", "do") not in topics(snat({"10.0.9.1": 99}, product=Product.OTHER))


def test_more_source_addresses_are_counted_out_once_for_a_service() -> None:
    advice = the("snat-pool", snat({"10.0.9.1": 80, "10.0.9.2": 8}))
    assert advice.why.startswith("88 sessions of rras-1 share 2 source addresses; 9 would")
    assert ("snat-pool", "consider") not in topics(snat({"10.0.9.1": 29}))


def test_fragmentation_is_switched_on_at_the_server_that_lacks_it() -> None:
    server = server_facts("rras-2", product=WINDOWS, fragmentation=Fragmentation.SERVER_LACKS, **ANSWERING)
    unseen = the("fragmentation", service_facts(server))
    assert unseen.severity == "consider"
    seen = the("fragmentation", service_facts(server, fragmented=FRAGMENTED, violations=Counter({FRAGMENTED.kind: 31})))
    assert seen.severity == "do"
    assert "31 IKE_AUTH messages" in seen.why
    assert "2344 bytes" in seen.why
    assert "EnableServerFragmentation" in seen.snippets[0].text
    strongswan = server_facts("rras-2", product=STRONGSWAN, fragmentation=Fragmentation.SERVER_LACKS, **ANSWERING)
    assert "fragmentation = yes" in the("fragmentation", service_facts(strongswan)).snippets[0].text


def test_fragmentation_is_a_matter_of_clients_where_they_do_not_offer_it() -> None:
    silent = replace(FRAGMENTED, client_offers=False)
    server = server_facts("rras-2", fragmentation=Fragmentation.CLIENT_LACKS, **ANSWERING)
    advice = the("fragmentation", service_facts(server, fragmented=silent, violations=Counter({silent.kind: 1})))
    assert advice.what == "Switch IKE fragmentation on at the clients that do not offer it."
    assert "198.51.100.7, does not offer it" in advice.why
    assert languages(advice) == ["swanctl", "powershell"]
    other = server_facts("rras-1", fragmentation=Fragmentation.CLIENT_LACKS, **ANSWERING)
    assert topics(service_facts(other, fragmented=silent)) == set()


def test_agreed_fragmentation_is_well() -> None:
    assert the("fragmentation", transparent(fragmentation=Fragmentation.BOTH, **ANSWERING)).severity == "well"
    assert ("fragmentation", "consider") not in topics(transparent(fragmentation=Fragmentation.CLIENT_LACKS))


@pytest.mark.parametrize("kind", [HealthKind.ICMP, HealthKind.TCP, HealthKind.NONE])
def test_probes_that_do_not_ask_ike_are_told(kind: HealthKind) -> None:
    assert "clients are still sent there" in the("probe", two(service={"config_health": Health(type=kind)})).why


@pytest.mark.parametrize("kind", [HealthKind.IKE, HealthKind.EXEC])
def test_probes_of_ike_and_of_the_operators_own_are_well(kind: HealthKind) -> None:
    assert topics(two(service={"config_health": Health(type=kind)})) == set()


def test_probes_that_strongswan_answers_before_its_workers_should_go_further() -> None:
    reason = "answers IKE: INVALID_MAJOR_VERSION"
    advice = the("probe", two(product=STRONGSWAN, probe_reason=reason))
    assert advice.why.startswith("a and b answer INVALID_MAJOR_VERSION")
    assert topics(two(product=WINDOWS, probe_reason=reason)) == set()
    assert topics(two(product=STRONGSWAN, probe_reason="answers IKE: NO_PROPOSAL_CHOSEN")) == set()
    further = {"config_health": Health(ike_probe=IkeProbe.INIT)}
    assert topics(two(product=STRONGSWAN, probe_reason=reason, service=further)) == set()


def test_a_server_that_demands_cookies_is_told_with_its_half_open_sessions() -> None:
    advice = the("cookies", transparent(busy=True, half_open=41, product=STRONGSWAN, **ANSWERING))
    assert "41 sessions of its own are half-open" in advice.why
    assert "cookie_threshold = 300" in advice.snippets[0].text
    assert the("cookies", transparent(busy=True, product=WINDOWS, **ANSWERING)).snippets == []
    assert topics(transparent(busy=True, health="down")) == set()


def test_a_windows_server_with_many_sessions_should_have_a_limit() -> None:
    assert "601 sessions" in the("max-sessions", transparent(product=WINDOWS, sessions=601, **ANSWERING)).why
    assert topics(transparent(product=WINDOWS, sessions=99, **ANSWERING)) == set()
    assert topics(transparent(product=STRONGSWAN, sessions=601, **ANSWERING)) == set()
    assert topics(transparent(product=WINDOWS, sessions=601, config_max_sessions=1000, **ANSWERING)) == set()


def test_strongswan_clients_should_notice_dead_servers_sooner_once_one_died() -> None:
    advices = [one for one in advise([two(product=STRONGSWAN, downs=2)]) if one.topic == "failover"]
    assert "a went down 2 times" in advices[0].why
    assert topics(two(product=STRONGSWAN)) == topics(two(product=WINDOWS, downs=2)) == set()
    assert topics(transparent(product=STRONGSWAN, downs=2, **ANSWERING)) == set()


def test_ranges_of_spis_are_shared_out_when_chance_makes_pairs_likely() -> None:
    advice = the("spi-ranges", two(product=STRONGSWAN, sessions=10_000))
    assert "20 000 sessions on 2 servers" in advice.why
    assert "about 0.37 pairs" in advice.why
    first, second = (snippet.text for snippet in advice.snippets)
    assert "spi_min = 0xc0000000\n    spi_max = 0xc7ffffff" in first
    assert "spi_min = 0xc8000000\n    spi_max = 0xcfffffff" in second
    assert topics(two(product=STRONGSWAN, sessions=1_000)) == set()
    assert ("spi-ranges", "consider") not in topics(two(product=WINDOWS, sessions=10_000))


def test_records_that_end_before_windows_gives_up_are_told_where_windows_is() -> None:
    short = {"config_persistence_timeout_s": Duration(300)}
    advice = the("outage-time", two(product=WINDOWS, service=short))
    assert "persistence_timeout is 5m" in advice.why
    assert topics(two(service=short | {"windows_clients": True})) == {("outage-time", "consider")}
    assert topics(two(service=short)) == set()
    assert topics(two(product=WINDOWS, service=short | {"config_persistence": PersistenceKind.IKE_SPI})) == set()
    roaming = {"config_timeouts": Timeouts(spi_binding_s=Duration(600))}
    assert "spi_binding is 10m here" in the("outage-time", two(product=WINDOWS, service=roaming)).why


def test_flows_that_are_forgotten_between_keepalives_are_told() -> None:
    hasty = the("nat-t-idle", two(service={"config_timeouts": Timeouts(nat_t_idle_s=Duration(59))}))
    assert hasty.why.startswith("It is 59s.")
    assert topics(two(service={"config_timeouts": Timeouts(nat_t_idle_s=Duration(60))})) == set()
    returned = the("nat-t-idle", two(service={"violations": Counter({"idle-too-short": 7})}))
    assert returned.why.startswith("7 clients came back within a minute after 5m of silence")
    assert 'nat_t_idle = "10m"' in returned.snippets[0].text


def test_port_following_should_be_on_with_several_servers() -> None:
    off = {"config_port_following": False}
    assert "It has not been seen yet." in the("port-following", two(service=off)).why
    seen = two(service=off | {"violations": Counter({"ports-split": 3})})
    assert "That happened 3 times." in the("port-following", seen).why
    assert topics(service_facts(server_facts(**ANSWERING), **off)) == set()


def test_an_office_that_weighs_on_one_server_asks_for_persistence_by_ike_sa() -> None:
    office = {"office": Office("203.0.113.77", 40, ("a",))}
    advice = the("office", two(sessions=80, service=office))
    assert advice.why.startswith("203.0.113.77 alone has 40 of 160 sessions, on a:")
    assert topics(two(sessions=81, service=office)) == set()
    assert topics(two(sessions=9, service={"office": Office("203.0.113.77", 19, ("a",))})) == set()
    assert topics(two(sessions=80, service=office | {"config_persistence": PersistenceKind.IKE_SPI})) == set()


def uneven(scheduler: SchedulerKind, part: float, **facts: Any) -> ServiceFacts:
    servers = (
        server_facts("a", "10.0.0.1", sessions=80, share=part, weighted_share=0.5, **ANSWERING),
        server_facts("b", "10.0.0.2", sessions=20, share=1 - part, weighted_share=0.5, **ANSWERING | facts),
    )
    return service_facts(*servers, config_scheduler=scheduler)


def test_schedulers_that_do_not_count_sessions_are_told_of_uneven_shares() -> None:
    advice = the("shares", uneven(SchedulerKind.ROUND_ROBIN, 0.8))
    assert advice.why.startswith("a has 80 % of 100 sessions, by weight it should have 50 %: round-robin")
    assert topics(uneven(SchedulerKind.ROUND_ROBIN, 0.6)) == set()
    assert topics(uneven(SchedulerKind.WEIGHTED_LEAST_CONNECTIONS, 0.8)) == set()
    assert topics(uneven(SchedulerKind.ROUND_ROBIN, 0.8, takes_new=False)) == set()


def test_reauthentication_is_told_once_it_was_seen_often_enough() -> None:
    assert the("reauthentication", two(reauthenticated=3)).why.startswith("6 sessions began on port 4500")
    assert topics(two(reauthenticated=2)) == set()


def test_the_most_urgent_comes_first() -> None:
    order = [one.severity for one in advise(FACTS)]
    assert order == sorted(order, key=["do", "consider", "well"].index)
    assert set(order) == {"do", "consider", "well"}


def _everything() -> list[Advice]:
    """As many kinds of advice as facts can call for."""
    crowded = {"10.0.9.1": 240}
    services = []
    for product in Product:
        for source in Source:
            for route in (Route("10.0.0.1", ""), Route("10.9.0.2", "10.9.0.1"), Route("2001:db8::1", ""), None):
                facts: dict[str, Any] = {
                    "product": product,
                    "sessions": 10_000,
                    "unanswered": 2,
                    "busy": True,
                    "downs": 1,
                    "reauthenticated": 9,
                    "source_use": crowded,
                    "fragmentation": Fragmentation.SERVER_LACKS,
                    "route": route,
                    "probe_reason": "answers IKE: INVALID_MAJOR_VERSION",
                }
                of_service = {
                    "config_source": source,
                    "config_port_following": False,
                    "config_persistence_timeout_s": Duration(300),
                    "config_timeouts": Timeouts(nat_t_idle_s=Duration(30), spi_binding_s=Duration(60)),
                    "windows_clients": True,
                    "office": Office("203.0.113.77", 9_000, ("a", "b")),
                }
                services.append(two(service=of_service, **facts))
    services.append(uneven(SchedulerKind.MAGLEV, 0.9))
    services.append(two(service={"config_health": Health(type=HealthKind.ICMP)}))
    return advise(services)


def test_what_is_to_be_copied_fits_a_terminal_and_survives_being_copied() -> None:
    for advice in _everything():
        for snippet in advice.snippets:
            for line in snippet.text.splitlines():
                assert len(line) <= 72, line
                assert line == line.rstrip(), line
                assert line.isascii(), line
                assert not line.endswith(("`", "\\")), "a continuation breaks when blanks are copied behind it"


def test_braces_of_what_is_to_be_copied_close() -> None:
    for advice in _everything():
        for snippet in advice.snippets:
            assert snippet.text.count("{") == snippet.text.count("}"), snippet.text


def test_settings_for_the_configuration_are_valid_ones() -> None:
    """Each is tried in a service that has all that goes with it."""
    tried = 0
    for advice in _everything():
        for snippet in advice.snippets:
            if snippet.language != "toml":
                continue
            keys, _, table = snippet.text.replace("max_sessions = N", "max_sessions = 9").partition("[")
            text = f'[[service]]\nname = "vpn"\naddress = "203.0.113.10"\n{keys}'
            if table.startswith("[service.real_server]"):
                table += '\naddress = "10.0.0.9"'
            text += f"[{table}" if table and "snat_addresses" not in table else ""
            parse(text, Path("config.toml"))
            tried += 1
    assert tried >= 8


def test_words_are_whole_sentences() -> None:
    for advice in _everything():
        for words in filter(None, (advice.what, advice.why, advice.check)):
            assert words.endswith("."), words
            assert "  " not in words, words
