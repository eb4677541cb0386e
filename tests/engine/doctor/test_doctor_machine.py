"""What the doctor concludes of the machine itself: rights, kernel, fast path, clock, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from doctor_facts import only, service, status

from engine.config.schema import AdminState, Config, EngineSection, Health, HealthKind, Source
from engine.control.status import FastPathDevice, KernelStatus
from engine.doctor.clock import judge_clock, look_at_clock
from engine.doctor.conntrack import Conntrack, judge_conntrack
from engine.doctor.diagnosis import Topic
from engine.doctor.fast_path import Left, judge_left, judge_prospects, judge_running, look_for_left
from engine.doctor.kernel import Tproxy, judge_kernel, judge_tproxy
from engine.doctor.limits import FileLimit, judge_files, judge_spare_ports
from engine.doctor.places import Place, judge_places, look_at_places
from engine.doctor.privileges import NUMBERS, Privileges, judge_privileges
from engine.doctor.running import Engine, judge_engine
from engine.prospects import Prospect, Prospects

ALL = frozenset(NUMBERS)
TRANSPARENT = Config(services=[service("vpn")])
SNAT = Config(services=[service("vpn", source=Source.SNAT)])
CARD = Prospect("eth0", "", "", merges_packets=False, hides_tags=False)
FIT = Prospects("1.1", "", (CARD,))
DIRECTORY = Place(Topic("files", "state-dir"), "/var/lib/ikeconsole", "history")


def test_root_lacks_nothing() -> None:
    said = list(judge_privileges(TRANSPARENT, Privileges(ALL)))
    assert {one.state for one in said} == {"ok"}
    assert [one.subject for one in said] == ["CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "fast path"]


@pytest.mark.parametrize(
    ("capability", "state", "words"),
    [
        ("CAP_NET_ADMIN", "fail", 'source = "transparent" of vpn cannot work'),
        ("CAP_NET_BIND_SERVICE", "fail", "UDP 500 cannot be bound"),
        ("CAP_NET_RAW", "warn", "takes a socket and a file of its own"),
    ],
)
def test_what_lacks_for_a_transparent_service(capability: str, state: str, words: str) -> None:
    said = only(judge_privileges(TRANSPARENT, Privileges(ALL - {capability, "CAP_SYS_ADMIN"})), subject=capability)
    assert said.state == state
    assert words in said.text
    assert said.text.startswith("an engine that this user starts lacks it")
    assert "as root" in said.remedy


def test_nobody_can_have_an_snat_service_on_high_ports_and_without_a_fast_path() -> None:
    config = Config(services=[service("vpn", source=Source.SNAT, ike_port=15500)])
    said = only(judge_privileges(config, Privileges(frozenset())))
    assert (said.state, said.subject) == ("warn", "fast path")
    assert "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN" in said.text


def test_low_ports_that_any_user_may_bind_take_no_capability() -> None:
    said = judge_privileges(SNAT, Privileges(frozenset(), unprivileged_from=0))
    assert "CAP_NET_BIND_SERVICE" not in [one.subject for one in said]


def test_pings_need_a_raw_socket_unless_the_group_may_ping() -> None:
    config = Config(services=[service("vpn", source=Source.SNAT, health=Health(type=HealthKind.ICMP))])
    said = only(judge_privileges(config, Privileges(frozenset())), subject="CAP_NET_RAW")
    assert said.state == "fail"
    assert "every server looks down" in said.text
    able = judge_privileges(config, Privileges(frozenset(), pings=True))
    assert "CAP_NET_RAW" not in [one.subject for one in able]


@pytest.mark.parametrize(
    ("release", "state"), [("6.1.0-18-amd64", "ok"), ("5.9", "ok"), ("5.4.0-150-generic", "warn"), ("odd", "warn")]
)
def test_old_kernels_have_no_fast_path(release: str, state: str) -> None:
    assert only(judge_kernel(release)).state == state


def test_the_rules_of_the_return_path() -> None:
    assert only(judge_tproxy(Tproxy())).state == "ok"
    assert only(judge_tproxy(Tproxy(denied=True))).text.startswith("not checked: needs root")
    failed = only(judge_tproxy(Tproxy(failure="`nft --check` failed: no such file")))
    assert failed.state == "fail"
    assert "modprobe -a nft_tproxy" in failed.command


def test_the_clock() -> None:
    assert [only(judge_clock(synchronised)).state for synchronised in (True, False, None)] == ["ok", "warn", "warn"]
    assert only(judge_clock(False)).command == "timedatectl set-ntp true"
    assert look_at_clock() in (True, False, None)


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        (Conntrack(None, None), "ok", "not loaded"),
        (Conntrack(0, 262_144), "ok", "0 of 262 144"),
        (Conntrack(8, 262_144), "ok", "with up to 4 for each, 65 534 sessions more fit"),
        (Conntrack(810_000, 1_000_000), "warn", "when it is full"),
        (Conntrack(262_144, 262_144), "fail", "are dropped before the engine sees them"),
    ],
)
def test_connection_tracking(found: Conntrack, state: str, words: str) -> None:
    said = only(judge_conntrack(found, 200_000))
    assert said.state == state
    assert words in said.text
    if state != "ok":
        assert said.command.startswith("sysctl -w net.netfilter.nf_conntrack_max=")


def test_the_mend_for_conntrack_makes_it_large_enough() -> None:
    command = only(judge_conntrack(Conntrack(262_144, 262_144), 200_000)).command
    room = int(command.rpartition("=")[2])
    assert room >= 4 * 200_000
    assert only(judge_conntrack(Conntrack(262_144, room), 200_000)).state == "ok"


def test_a_fast_path_at_work_is_told_with_what_hinders_it() -> None:
    devices = [
        FastPathDevice(name="eth0", mode="native", egress=True, reason=""),
        FastPathDevice(name="eth1", mode="", egress=False, reason="another XDP program is on eth1"),
    ]
    reason = "another XDP program is on eth1; eth0 does not forward IPv4"
    engine = status(fast_path="native", fast_path_reason=reason, kernel=KernelStatus(flows=7, devices=devices))
    said = list(judge_running(engine))
    assert [(one.check, one.subject, one.state) for one in said] == [
        ("mode", "", "ok"),
        ("device", "eth0", "ok"),
        ("device", "eth1", "warn"),
        ("mode", "", "warn"),
    ]
    assert "7 flows" in said[0].text
    assert said[3].text == "eth0 does not forward IPv4"
    off = only(judge_running(status(fast_path="off", fast_path_reason="libbpf.so.1 is missing")))
    assert off.state == "warn"
    assert "libbpf.so.1 is missing" in off.text


def test_what_an_engine_would_find_for_its_fast_path() -> None:
    assert {one.state for one in judge_prospects(FIT, privileged=True)} == {"ok"}
    assert only(judge_prospects(None, privileged=True)).state == "warn"
    missing = only(judge_prospects(Prospects("", "libbpf.so.1 is missing", ()), privileged=True))
    assert (missing.state, missing.command) == ("warn", "apt install libbpf1")
    refused = Prospects("1.1", "cannot load: Operation not permitted", ())
    assert only(judge_prospects(refused, privileged=False), check="bpf").text.startswith("not checked: needs root")
    assert "not permitted" in only(judge_prospects(refused, privileged=True), check="bpf").text
    nothing = only(judge_prospects(replace(FIT, devices=()), privileged=True), check="device")
    assert nothing.state == "warn"


@pytest.mark.parametrize(
    ("card", "command"),
    [
        (replace(CARD, program="katran, id 7"), "ip link set eth0 xdp off"),
        (replace(CARD, merges_packets=True), "ethtool -K eth0 lro off"),
        (replace(CARD, hides_tags=True), "ethtool -K eth0 rxvlan off"),
        (replace(CARD, hides_tags=True, kind="bond"), ""),
    ],
)
def test_what_is_wrong_with_a_device(card: Prospect, command: str) -> None:
    said = only(judge_prospects(replace(FIT, devices=(card,)), privileged=True), subject="eth0")
    assert (said.state, said.command) == ("warn", command)


def test_a_fast_path_without_an_engine_is_told_once_and_is_no_other_program() -> None:
    path = Path("/etc/lb.toml")
    said = only(judge_left(Left(["eth0", "eth1"]), path))
    assert (said.state, said.command) == ("warn", "ikeconsole down -c /etc/lb.toml")
    assert "still on eth0 and eth1: data of established tunnels passes" in said.text
    assert only(judge_left(Left(), path)).state == "ok"
    assert only(judge_left(Left(denied=True), path)).text.startswith("not checked: needs root")
    own = replace(FIT, devices=(replace(CARD, program="forward, id 7"),))
    assert only(judge_prospects(own, privileged=True, left_on=["eth0"]), subject="eth0").state == "ok"
    assert only(judge_prospects(own, privileged=True), subject="eth0").state == "warn"


def test_only_a_state_directory_that_this_user_may_look_into_is_judged(tmp_path: Path) -> None:
    """Whose lock cannot be opened, of that nobody knows whether an engine runs."""
    settings = EngineSection(state_dir=str(tmp_path))
    assert look_for_left(settings) == Left()
    (tmp_path / "engine.lock").symlink_to("nowhere")
    assert look_for_left(settings) == Left(denied=True)


@pytest.mark.parametrize(
    ("config", "found", "state", "words"),
    [
        (TRANSPARENT, FileLimit(4096), "ok", "4 096 files"),
        (SNAT, FileLimit(1_000_000), "ok", "1 000 000 files"),
        (SNAT, FileLimit(20_000), "warn", "room for 19 744 sockets"),
        (TRANSPARENT, FileLimit(256), "fail", "the engine alone"),
        (SNAT, FileLimit(20_000, taken_back=3), "fail", "3 sockets were closed under flows in use"),
        (
            Config(engine=EngineSection(max_open_sockets=9_000), services=SNAT.services),
            FileLimit(8_192),
            "warn",
            "max_open_sockets asks for 9 000",
        ),
    ],
)
def test_open_files(config: Config, found: FileLimit, state: str, words: str) -> None:
    said = only(judge_files(config, found, spares=True))
    assert said.state == state
    assert words in said.text
    if state != "ok":
        mended = FileLimit(int(said.command.rpartition(" ")[2]))
        assert only(judge_files(config, mended, spares=True)).state == "ok"


def test_with_snat_addresses_flows_need_no_sockets_where_the_kernel_does_its_part() -> None:
    pooled = Config(services=[service("vpn", source=Source.SNAT, snat_addresses=["10.0.0.1"])])
    assert only(judge_files(pooled, FileLimit(20_000), spares=True)).state == "ok"
    without = only(judge_files(pooled, FileLimit(20_000), spares=False))
    assert without.state == "warn"
    assert "set snat_addresses in vpn" in without.remedy
    assert list(judge_spare_ports(SNAT, range(0))) == []
    assert only(judge_spare_ports(pooled, range(8192, 32768))).text.startswith("24 576 ports of each snat address")
    none = only(judge_spare_ports(pooled, range(0)))
    assert (none.state, none.command) == ("warn", 'sysctl -w net.ipv4.ip_local_port_range="32768 60999"')


@pytest.mark.parametrize(
    ("place", "state", "words"),
    [
        (DIRECTORY, "ok", "writable, 64 MiB free"),
        (replace(DIRECTORY, exists=False), "ok", "yet to be made"),
        (replace(DIRECTORY, writable=False, user="nobody"), "fail", "cannot be written by nobody"),
        (replace(DIRECTORY, writable=False, read_only=True), "fail", "read-only"),
        (replace(DIRECTORY, free_bytes=2 << 20), "warn", "only 2 MiB are free"),
        (replace(DIRECTORY, free_bytes=0), "fail", "no room is left"),
        (replace(DIRECTORY, free_files=0), "fail", "no free inode is left"),
    ],
)
def test_places(place: Place, state: str, words: str) -> None:
    said = only(judge_places([place], others_engine=False))
    assert said.state == state
    assert words in said.text


def test_the_places_of_another_user_s_engine_are_not_judged_by_this_user_s_rights() -> None:
    said = only(judge_places([replace(DIRECTORY, writable=False)], others_engine=True))
    assert (said.state, said.text.startswith("not checked")) == ("warn", True)


def test_places_that_are_yet_to_be_made_are_looked_for_above(tmp_path: Path) -> None:
    settings = EngineSection(state_dir=str(tmp_path / "a" / "b"), control_socket=str(tmp_path / "control.sock"))
    state_dir, socket = look_at_places(settings)
    assert (state_dir.exists, state_dir.writable, state_dir.nearest) == (False, True, str(tmp_path))
    assert (socket.exists, socket.path) == (True, str(tmp_path))
    assert socket.free_bytes > 0


def test_which_engine_runs_and_with_what() -> None:
    path = Path("/etc/ikeconsole/config.toml")
    assert "no engine runs" in only(judge_engine(Engine(), path)).text
    assert only(judge_engine(Engine(denied="no right"), path)).text.startswith("not checked: no right")
    running = Engine(status(pid=7, config_path=str(path)))
    assert only(judge_engine(running, path)).state == "ok"
    other = only(judge_engine(running, Path("/tmp/config.toml")))
    assert (other.state, other.command) == ("warn", f"ikeconsole doctor -c {path}")


def test_disabled_real_servers_ask_nothing_of_the_machine() -> None:
    from engine.doctor.needs import servers_in_use

    config = Config(services=[service("vpn", states={"s1": AdminState.DISABLED, "s2": AdminState.DRAIN})])
    assert [server.name for _, server in servers_in_use(config)] == ["s2"]
