"""Every rule across keys refuses what it is for, with its message, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.load import parse
from engine.config.problems import ConfigError
from engine.config.validate import MAX_REAL_SERVERS, MAX_SERVICES

SNAT = 'source = "snat"\n'


def service(name: str = "vpn", address: str = "192.0.2.1", *, keys: str = "") -> str:
    return f'[[service]]\nname = "{name}"\naddress = "{address}"\n{keys}\n'


def server(name: str = "a", address: str = "10.0.0.1", *, keys: str = "") -> str:
    return f'[[service.real_server]]\nname = "{name}"\naddress = "{address}"\n{keys}\n'


def problems_of(text: str) -> list[str]:
    try:
        parse(text, Path("x"))
    except ConfigError as refused:
        return [f"{problem.key}: {problem.message}" for problem in refused.problems]
    return []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[engine]\ncontrol_socket = 'x.sock'",
            'engine.control_socket: "x.sock" depends on where the engine is started: write it from "/" on',
        ),
        (
            "[engine]\nstate_dir = 'state'",
            'engine.state_dir: "state" depends on where the engine is started: write it from "/" on',
        ),
        (
            '[engine]\nstate_dir = "/a\\u0000b"',
            "engine.state_dir: has the character U+0000 in it, which nobody can see: remove it",
        ),
        (
            f"[engine]\ncontrol_socket = '/{'x' * 107}'",
            "engine.control_socket: is longer than the 107 bytes of a Unix socket's path: choose a shorter one",
        ),
        (
            '[engine.metrics]\nlisten = "127.0.0.1"',
            'engine.metrics.listen: "127.0.0.1" is not an address and a port: write for example "127.0.0.1:9466"',
        ),
        (
            '[engine.metrics]\nlisten = "localhost:9466"',
            'engine.metrics.listen: "localhost" is not an IPv4 or IPv6 address: write for example "192.0.2.10" or '
            '"2001:db8::10"; names are not looked up',
        ),
        (
            '[engine.metrics]\nlisten = "0.0.0.0:9466"',
            "engine.metrics.listen: 0.0.0.0 stands for every address of the machine, those of services too, which "
            'anybody can reach: write "127.0.0.1:9466", or one address of an inner network',
        ),
        (
            '[engine.metrics]\nlisten = "224.0.0.1:9466"',
            "engine.metrics.listen: 224.0.0.1 is a multicast address: write the address of one machine",
        ),
        (
            service("a/b"),
            'service[1].name: "a/b" is no usable name: write 1 to 64 letters, digits, ".", "_" or "-"',
        ),
        (service(""), 'service[1].name: "" is no usable name: write 1 to 64 letters, digits, ".", "_" or "-"'),
        (
            service("x") + service("x", "192.0.2.2"),
            'service[2].name: "x" is already the name of service[1]: change one',
        ),
        (
            service() + server("a") + server("a", "10.0.0.2"),
            'service.vpn.real_server[2].name: "a" is already the name of service.vpn.real_server[1]: change one',
        ),
        (
            service(address="0.0.0.0"),
            "service.vpn.address: 0.0.0.0 stands for every address of the machine, and replies must leave from one: "
            "write that address",
        ),
        (
            service(address="239.1.1.1"),
            "service.vpn.address: 239.1.1.1 is a multicast address: write the address of one machine",
        ),
        (
            service() + server(address="255.255.255.255"),
            "service.vpn.real_server.a.address: 255.255.255.255 is the broadcast address: "
            "write the address of one machine",
        ),
        (
            service(keys="nat_t_port = 500"),
            "service.vpn.nat_t_port: is 500 as ike_port is: the two need different ports, as 500 and 4500 are",
        ),
        (
            service() + server(keys="ike_port = 4500"),
            "service.vpn.real_server.a.nat_t_port: is 4500 for IKE and NAT-T alike: the two need different ports",
        ),
        (
            service(keys='snat_addresses = ["192.0.2.20"]'),
            'service.vpn.snat_addresses: has no effect with source = "transparent": remove it, or write '
            'source = "snat"',
        ),
        (
            service(keys=SNAT + 'snat_addresses = ["192.0.2.20", "192.0.2.16/28"]'),
            'service.vpn.snat_addresses: "192.0.2.16/28" and "192.0.2.20" overlap: write each address once',
        ),
        (
            service(keys=SNAT + 'snat_addresses = ["0.0.0.0"]'),
            "service.vpn.snat_addresses: 0.0.0.0 stands for every address of the machine, and replies must leave "
            "from one: write that address",
        ),
        (
            service(keys=SNAT + 'snat_addresses = ["2001:db8::1"]'),
            "service.vpn.snat_addresses: 2001:db8::1 is IPv6 and the service's address 192.0.2.1 is not: "
            "write one of IPv4",
        ),
        (
            service(address="2001:db8::1") + server(),
            "service.vpn.real_server.a.address: 10.0.0.1 is IPv4 and the service's address 2001:db8::1 is not: "
            "write one of IPv6",
        ),
        (
            service() + server() + server("b"),
            "service.vpn.real_server.b.address: 10.0.0.1 is already service.vpn.real_server.a with the same port: "
            "write each server once",
        ),
        (
            service(keys="[service.health]\ntimeout = '9s'"),
            "service.vpn.health.timeout: of 9s is longer than the interval of 5s: write at most that",
        ),
        (
            service(keys="[service.agent]\ninterval = '1s'"),
            "service.vpn.agent.timeout: of 2s is longer than the interval of 1s: write at most that",
        ),
        (
            service(keys="[service.agent]\npath = 'load'"),
            'service.vpn.agent.path: "load" is no path of a URL: write one that begins with "/", for example "/load"',
        ),
        (
            service(keys="[service.health]\ntype = 'tcp'"),
            'service.vpn.health.port: is missing: type = "tcp" needs one, for example port = 443',
        ),
        (
            service(keys="[service.health]\ntype = 'exec'"),
            'service.vpn.health.command: is missing: type = "exec" needs one, for example '
            'command = ["/usr/local/bin/probe", "{address}"]',
        ),
        (
            service(keys="[service.health]\ntype = 'exec'\ncommand = ['/bin/true', \"a\\u001bb\"]"),
            "service.vpn.health.command: has the character U+001B in it, which nobody can see: remove it",
        ),
        (
            '[engine]\ncontrol_group = "a\\u202eb"',
            "engine.control_group: has the character U+202E in it, which nobody can see: remove it",
        ),
        (
            service("one") + service("two", keys="nat_t_port = 4501"),
            "service.two.ike_port: 192.0.2.1:500 is already service.one.ike_port: change address or port of one",
        ),
        (
            service("one") + service("two", keys="ike_port = 4500\nnat_t_port = 501"),
            "service.two.ike_port: 192.0.2.1:4500 is already service.one.nat_t_port: change address or port of one",
        ),
        (
            service() + server(address="192.0.2.1"),
            "service.vpn.real_server.a.address: 192.0.2.1:500 is service.vpn.ike_port, so packets would go in "
            "circles: write the VPN server's own address",
        ),
        (
            service(keys=SNAT + 'snat_addresses = ["10.0.0.0/30"]') + server(),
            "service.vpn.snat_addresses: 10.0.0.1 is the address of service.vpn.real_server.a: "
            "leave it out of the pool",
        ),
    ],
)
def test_a_broken_rule_is_reported_with_its_key(text: str, problem: str) -> None:
    assert problems_of(text) == [problem]


@pytest.mark.parametrize(
    "text",
    [
        service() + server() + server("b", "10.0.0.2"),
        service("one") + server() + service("two", "192.0.2.2") + server(),
        service("one") + service("two", keys="ike_port = 501\nnat_t_port = 4501"),
        service() + server(keys="ike_port = 501\nnat_t_port = 4501") + server("b"),
        service() + server(address="192.0.2.1", keys="ike_port = 501\nnat_t_port = 4501"),
        service(keys=SNAT + 'snat_addresses = ["192.0.2.1", "192.0.2.16-192.0.2.20"]'),
        service(keys="scheduler = 'adaptive'"),
        service(keys="[service.health]\ntype = 'tcp'\nport = 443\ntimeout = '5s'"),
        service(keys="persistence_timeout = '168h'"),
        service(address="127.0.0.1") + server(address="127.0.0.2"),
        service(address="2001:db8::1") + server(address="2001:db8::2"),
        "[engine]\ncontrol_socket = '/run/x.sock'\nstate_dir = '/var/lib/x'",
    ],
)
def test_what_can_work_is_not_refused(text: str) -> None:
    assert problems_of(text) == []


def test_services_and_servers_are_bounded() -> None:
    many = "".join(service(f"s{number}", f"192.0.{number // 250}.{number % 250 + 1}") for number in range(257))
    assert problems_of(many) == [f"service: stands 257 times: at most {MAX_SERVICES} are possible"]
    crowd = "".join(server(f"a{number}", f"10.0.{number // 250}.{number % 250}") for number in range(1025))
    assert problems_of(service() + crowd) == [
        f"service.vpn.real_server: stands 1025 times: at most {MAX_REAL_SERVERS} are possible"
    ]
