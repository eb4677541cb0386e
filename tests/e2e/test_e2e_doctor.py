"""`ikeconsole doctor` on a balancer that is well, and on one with each ill that it shall name."""

from __future__ import annotations

import json
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.balancer import PROGRAM, TREE, configuration
from harness.lab import Lab
from harness.namespaces import end
from harness.plan import Family
from harness.waiting import eventually

pytestmark = pytest.mark.e2e

PATIENCE_S = 60
NOBODY = [
    "--reuid=65534",
    "--clear-groups",
    # Python and configuration lie where only root may look.
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=+dac_read_search",
    "--bounding-set=-all,+dac_read_search",
]
THIEF = 'use IO::Socket::INET; my $s = IO::Socket::INET->new(Proto => "udp", LocalAddr => "198.18.0.10:500"); sleep;'


@dataclass(frozen=True, slots=True)
class Examined:
    """What one run of the doctor said."""

    code: int
    rows: list[dict[str, str]]
    stderr: str

    def about(self, check: str, subject: str = "", text: str = "") -> dict[str, str]:
        """The one diagnosis of a check and a subject, whose text has `text` in it."""
        found = [
            row for row in self.rows if row["check"] == check and row["subject"] == subject and text in row["text"]
        ]
        assert len(found) == 1, (found, self.rows)
        return found[0]

    @property
    def failing(self) -> set[tuple[str, str]]:
        return {(row["check"], row["subject"]) for row in self.rows if row["state"] == "fail"}


class Doctor:
    """The command in the balancer's namespace."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory

    def look(self, *under: str) -> Examined:
        done = self.run("--json", under=under)
        return Examined(done.returncode, json.loads(done.stdout or "[]"), done.stderr)

    def command(self, *options: str) -> list[str]:
        return [*PROGRAM, "doctor", "-c", str(self.directory / "config.toml"), *options]

    def run(self, *options: str, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        name = self.lab.balancer.node.namespace.name
        return subprocess.run(
            ["ip", "netns", "exec", name, "env", "-C", str(TREE), *under, *self.command(*options)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )


@pytest.fixture
def doctor(fresh_lab: Lab) -> Doctor:
    fresh_lab.balancer.write(configuration(fresh_lab.topology, "transparent"))
    return Doctor(fresh_lab, fresh_lab.balancer.log.parent)


def leftovers(lab: Lab) -> list[str]:
    """What of the doctor's own is in the kernel: its table, its rules, its routes."""
    inside = lab.balancer.node.namespace
    found = [line for line in inside.run("nft", "list", "tables").splitlines() if "doctor" in line]
    for option in ("-4", "-6"):
        found += [line for line in inside.run("ip", option, "rule", "show").splitlines() if "467" in line]
        # Without check: ip fails when the table has never had a route.
        found += inside.run("ip", option, "route", "show", "table", "467", check=False).splitlines()
    return found


SERVERS = [f"vpn-{family}/rs{number}" for family in Family for number in (1, 2, 3)]


def test_a_balancer_that_is_well(doctor: Doctor) -> None:
    seen = doctor.look()
    assert seen.stderr == ""
    assert seen.failing == set()
    assert seen.code == 0
    for server in SERVERS:
        assert seen.about("ike-probe", server)["state"] == "ok"
        assert seen.about("return-path", server)["state"] == "ok"
    assert seen.about("port", "vpn-ipv4", ":4500")["text"] == "UDP 198.18.0.10:4500 is free"
    assert seen.about("tproxy")["state"] == "ok"
    assert seen.about("bpf")["state"] == "ok"
    assert seen.about("device", "wan0")["state"] == "ok"
    assert leftovers(doctor.lab) == []


def test_an_snat_service_needs_no_return_path(doctor: Doctor) -> None:
    lab = doctor.lab
    pool = [lab.topology.snat[1][Family.IPV4], "10.77.0.250"]
    config = configuration(lab.topology, "snat")
    config["service"] = [config["service"][0] | {"snat_addresses": pool}]
    lab.balancer.write(config)
    seen = doctor.look()
    assert seen.failing == {("snat-address", "vpn-ipv4")}
    assert "10.77.0.250" in seen.about("snat-address", "vpn-ipv4")["text"]
    assert seen.about("ike-probe", "vpn-ipv4/rs1")["state"] == "ok"
    assert not [row for row in seen.rows if row["check"] in ("return-path", "tproxy")]


def test_beside_a_running_engine_it_changes_nothing(doctor: Doctor) -> None:
    lab = doctor.lab
    lab.balancer.start()
    seen = doctor.look()
    assert seen.failing == set()
    assert seen.about("port", "vpn-ipv4", ":500")["text"] == "UDP 198.18.0.10:500 is the engine's"
    assert seen.about("return-path-rules", text="IPv4")["state"] == "ok"
    assert seen.about("return-path", "vpn-ipv6/rs2")["state"] == "ok"
    assert seen.about("mode")["text"].startswith(lab.balancer.status().fast_path)
    # The engine took none of the doctor's questions for a client's.
    assert lab.balancer.sessions() == []
    assert all(not service.drops for service in lab.balancer.status().services)
    assert leftovers(lab) == []


def test_each_ill_is_named_and_its_command_mends_it(doctor: Doctor) -> None:
    lab = doctor.lab
    inside, servers = lab.balancer.node.namespace, lab.servers
    inside.run("sysctl", "-qw", "net.ipv4.conf.wan0.rp_filter=1", "net.ipv4.conf.lan0.rp_filter=1")
    inside.run("sysctl", "-qw", "net.ipv4.conf.lan0.forwarding=0")
    inside.ip("link set lan0 mtu 1400", "route add default via 10.77.0.11")
    servers["rs3"].node.namespace.ip("route replace default via 10.77.0.99")
    thief = inside.spawn("perl", "-e", THIEF, log=lab.balancer.log)
    servers["rs2"].charon.kill()
    try:
        seen = doctor.look()
        assert seen.code == 1
        assert seen.failing == {
            ("port", "vpn-ipv4"),
            ("rp-filter", "wan0"),
            ("ike-probe", "vpn-ipv4/rs2"),
            ("ike-probe", "vpn-ipv6/rs2"),
            ("return-path", "vpn-ipv4/rs3"),
        }
        assert f"taken by perl (pid {thief.pid}" in seen.about("port", "vpn-ipv4", ":500 ")["text"]
        assert "leave by lan0" in seen.about("rp-filter", "wan0")["text"]
        assert seen.about("rp-filter", "lan0")["state"] == "warn"
        assert "while 198.18.0.10 is on wan0" in seen.about("route-to-clients", "vpn-ipv4")["text"]
        assert seen.about("ike-probe", "vpn-ipv4/rs2")["text"].startswith("10.77.0.12 port 500: connection refused")
        assert "answers no probe" in seen.about("return-path", "vpn-ipv4/rs2")["text"]
        assert seen.about("return-path", "vpn-ipv6/rs3")["state"] == "ok"
        assert seen.about("forwarding", "lan0", "IPv4")["state"] == "warn"
        assert seen.about("mtu", "lan0")["state"] == "warn"

        for check, subject, text in (
            ("rp-filter", "wan0", ""),
            ("rp-filter", "lan0", ""),
            ("forwarding", "lan0", "IPv4"),
            ("mtu", "lan0", ""),
            ("port", "vpn-ipv4", ":500 "),
        ):
            inside.run("sh", "-c", seen.about(check, subject, text)["command"])
        servers["rs3"].node.namespace.run("sh", "-c", seen.about("return-path", "vpn-ipv4/rs3")["command"])
        thief.wait(5)
        servers["rs2"].start()
        inside.ip("route del default")
        mended = doctor.look()
        assert mended.failing == set()
        assert mended.about("rp-filter", "lan0")["text"] == "loose"
        assert mended.about("mtu", "lan0")["state"] == "ok"
    finally:
        end(thief, signal.SIGKILL)
        inside.run("ip", "route", "del", "default", check=False)
        inside.run("sysctl", "-qw", "net.ipv4.conf.wan0.rp_filter=0", "net.ipv4.conf.lan0.rp_filter=0")
        inside.run("sysctl", "-qw", "net.ipv4.conf.lan0.forwarding=1")
        inside.ip("link set lan0 mtu 1500")
        servers["rs3"].node.namespace.ip("route replace default via 10.77.0.1")


def test_marks_that_count_for_the_filter_break_the_return_path(doctor: Doctor) -> None:
    inside = doctor.lab.balancer.node.namespace
    inside.run("sysctl", "-qw", "net.ipv4.conf.all.src_valid_mark=1")
    seen = doctor.look()
    command = seen.about("src-valid-mark", "lan0")["command"]
    assert ("return-path", "vpn-ipv4/rs1") in seen.failing
    inside.run("sh", "-c", command)
    assert doctor.look().failing == set()


def test_a_return_path_that_the_engine_cannot_put_back_is_noticed(doctor: Doctor) -> None:
    """Its route leads through lo, and the kernel has IPv6 routes only through devices that are up."""
    lab = doctor.lab
    lab.balancer.start()
    lab.balancer.node.namespace.ip("link set lo down")
    try:
        seen = doctor.look()
    finally:
        lab.balancer.node.namespace.ip("link set lo up")
    assert "the route in table 466 is gone" in seen.about("return-path-rules", text="IPv6")["text"]
    assert ("return-path", "vpn-ipv6/rs1") in seen.failing


def test_a_firewall_that_drops_is_named_and_its_command_opens_it(doctor: Doctor) -> None:
    inside = doctor.lab.balancer.node.namespace
    inside.run(
        "nft", "add table inet closed; add chain inet closed input { type filter hook input priority 0; policy drop; }"
    )
    try:
        seen = doctor.look()
        assert ("ike-probe", "vpn-ipv4/rs1") in seen.failing
        found = seen.about("firewall", "inet closed")
        assert found["state"] == "warn"
        inside.run("sh", "-c", found["command"])
        inside.run(
            "nft", "insert rule inet closed input icmpv6 type { nd-neighbor-advert, nd-neighbor-solicit } accept"
        )
        opened = doctor.look()
        assert opened.failing == set()
        assert opened.about("firewall")["state"] == "ok"
    finally:
        inside.run("nft", "delete", "table", "inet", "closed")


def test_without_privileges_what_cannot_be_looked_at_is_said(doctor: Doctor) -> None:
    seen = doctor.look("setpriv", *NOBODY)
    assert seen.stderr == ""
    assert ("capability", "CAP_NET_ADMIN") in seen.failing
    for check, subject in (("tproxy", ""), ("firewall", ""), ("return-path", "vpn-ipv4/rs1")):
        found = seen.about(check, subject)
        assert found["state"] == "warn"
        assert found["text"].startswith("not checked: needs root")
    assert seen.about("ike-probe", "vpn-ipv4/rs1")["state"] == "ok"


def test_the_lines_fit_a_terminal(doctor: Doctor) -> None:
    done = doctor.run()
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines if not line.lstrip().startswith("# ")) <= 80
    assert "  ● ok    return-path vpn-ipv4/rs1: it answered the client 198.51.100.1 through" in lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_takes_its_rules_away_first(doctor: Doctor, number: signal.Signals) -> None:
    lab = doctor.lab
    health = {"type": "ike", "timeout": "20s", "interval": "20s"}
    lab.balancer.write(configuration(lab.topology, "transparent", health=health))
    away = lab.servers["rs3"].node.namespace
    away.ip("route replace default via 10.77.0.99")
    process = lab.balancer.node.namespace.spawn(*doctor.command(), log=lab.balancer.log, cwd=TREE)
    try:
        eventually(lambda: len(leftovers(lab)) == 3, "the doctor's table, rule and route are there")
        process.send_signal(number)
        assert process.wait(5) == (1 if number is signal.SIGTERM else 130)
        assert leftovers(lab) == []
    finally:
        end(process, signal.SIGKILL)
        away.ip("route replace default via 10.77.0.1")
