"""Who has the ports of services: found among real processes, and said."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest
from doctor_facts import only, service, status
from netaddr import IPAddress

from engine.config.schema import Config, Source
from engine.doctor.ports import Holder, PortUse, judge_pools, judge_ports, look_at_ports
from engine.doctor.running import Engine

NOBODY = Engine()
RUNNING = Engine(status(pid=4242))
DENIED = Engine(denied="no right")
USE = PortUse("vpn", "203.0.113.10:500")


def bound(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    return sock


def on_loopback(address: str, ike_port: int, nat_t_port: int) -> Config:
    return Config(
        services=[
            service("vpn", address=IPAddress(address), source=Source.SNAT, ike_port=ike_port, nat_t_port=nat_t_port)
        ]
    )


@pytest.mark.parametrize(
    ("held", "address"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("::", "::1")]
)
def test_the_process_that_has_a_port_is_found(held: str, address: str) -> None:
    with bound(held) as thief, bound(address) as other:
        free = other.getsockname()[1]
        other.close()
        taken, untaken = look_at_ports(on_loopback(address, thief.getsockname()[1], free))
    assert taken.holder is not None
    assert taken.holder.pid == os.getpid()
    assert (untaken.holder, untaken.failure) == (None, "")


def test_a_port_of_another_address_is_free() -> None:
    with bound("127.0.0.2") as other:
        use, _ = look_at_ports(on_loopback("127.0.0.1", other.getsockname()[1], 14599))
    assert use.holder is None


def test_an_address_that_the_machine_lacks_is_told_as_the_engine_would() -> None:
    use, _ = look_at_ports(on_loopback("203.0.113.77", 15500, 14500))
    said = only(judge_ports([use], NOBODY))
    assert said.state == "fail"
    assert "ip address add 203.0.113.77 dev INTERFACE" in said.text


@pytest.mark.parametrize(
    ("use", "engine", "state", "words"),
    [
        (USE, NOBODY, "ok", "UDP 203.0.113.10:500 is free"),
        (USE, RUNNING, "warn", "is free: the engine that runs has another configuration"),
        (replace(USE, holder=Holder(4242, "python")), RUNNING, "ok", "is the engine's"),
        (replace(USE, holder=Holder(4242, "python")), NOBODY, "fail", "taken by python (pid 4242)"),
        (replace(USE, holder=Holder(None)), RUNNING, "warn", "not checked: needs root"),
        (replace(USE, holder=Holder(None)), DENIED, "warn", "not checked: needs root"),
        (replace(USE, holder=Holder(None)), NOBODY, "fail", "a program of another user"),
        (replace(USE, failure="needs privilege", denied=True), NOBODY, "warn", "can be bound; nobody has it"),
    ],
)
def test_who_has_a_port_is_said(use: PortUse, engine: Engine, state: str, words: str) -> None:
    said = only(judge_ports([use], engine))
    assert said.state == state
    assert words in said.text


@pytest.mark.parametrize(
    ("holder", "command"),
    [
        (Holder(7, "charon"), "kill 7"),
        (Holder(7, "charon", "strongswan.service"), "systemctl disable --now strongswan.service"),
    ],
)
def test_a_thief_is_sent_away_for_good_where_systemd_started_it(holder: Holder, command: str) -> None:
    assert only(judge_ports([replace(USE, holder=holder)], NOBODY)).command == command


def test_snat_addresses_must_be_the_machine_s() -> None:
    def pool(*addresses: str) -> Config:
        return Config(services=[service("vpn", source=Source.SNAT, snat_addresses=list(addresses))])

    assert only(judge_pools(pool("127.0.0.7", "127.0.0.8"))).text == "2 of 2 are this machine's"
    said = only(judge_pools(pool("127.0.0.7", "203.0.113.5-203.0.113.6")))
    assert said.state == "fail"
    assert "203.0.113.5" in said.text
    assert "(2 of 3 are not there)" in said.text


def test_an_address_family_that_the_kernel_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr("engine.doctor.ports.sockets.listener", refuse)
    use, _ = look_at_ports(on_loopback("::1", 15500, 14500))
    assert only(judge_ports([use], NOBODY)).text == (
        "UDP [::1]:15500 cannot be had: Address family not supported by protocol"
    )
