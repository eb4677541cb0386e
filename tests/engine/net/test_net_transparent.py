"""The kernel's part of transparent services: installed again and again, replaced, and taken away without a trace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from socket import AF_INET, AF_INET6, AddressFamily

import pytest
import trio
from net_nobody import told_as_nobody

from engine.net import transparent

ROOT = Path(__file__).parents[3]
ENDPOINTS = [("10.0.0.11", 500), ("10.0.0.11", 4500), ("fd00::11", 500), ("fd00::11", 4500)]
BOTH = {AF_INET: 40_001, AF_INET6: 40_002}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network namespace")
needs_nft = pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")

SEEN = """
def seen():
    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout
    rules = [r for f in ("-4", "-6") for r in json.loads(run("ip", "-json", f, "rule", "show"))]
    return {
        "rules": [r["table"] for r in rules if r.get("fwmark")],
        "routes": [run("ip", f, "route", "show", "table", "466").split() for f in ("-4", "-6")],
        "nft": run("nft", "list", "ruleset"),
    }
"""

SCRIPT = """
import json, subprocess, sys
from socket import AF_INET, AF_INET6
import trio
from engine.net import transparent
from engine.net.return_path import ReturnPath
from engine.net.pump import Pump
from engine.net.forwarder import Forwarder
from engine.net.starvation import Starvation
from engine.events import EventLog
from engine.session_events import SessionEvents
{seen}
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
out = {{}}
def note(name):
    out[name] = seen()
async def main():
{body}
trio.run(main)
print(json.dumps(out))
"""


def in_namespace(body: str, *, path: str | None = None) -> dict[str, dict[str, list[object] | str]]:
    """What a coroutine's body notes, run in a network namespace of its own, which ends with it."""
    script = SCRIPT.format(seen=SEEN, body="\n".join(f"    {line}" for line in body.strip().splitlines()))
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
        env=os.environ | ({"PATH": path} if path else {}),
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, list[object] | str]] = json.loads(done.stdout)
    return found


@needs_root
@needs_nft
@pytest.mark.parametrize(
    ("endpoints", "catch_alls"),
    [
        (ENDPOINTS, BOTH),
        (ENDPOINTS[:2], {AF_INET: 40_001}),
        (ENDPOINTS[2:], {AF_INET6: 40_001}),
        ([], BOTH),
        ([(f"10.0.{n >> 8}.{n & 255}", 4500) for n in range(1, 600)], {AF_INET: 40_001}),
    ],
    ids=["both", "ipv4", "ipv6", "none", "many"],
)
def test_ruleset_is_what_nft_accepts(endpoints: list[tuple[str, int]], catch_alls: dict[AddressFamily, int]) -> None:
    """For any mix of servers the text passes nft's own check, and names every server's address and port."""
    text = transparent.ruleset(endpoints, catch_alls)
    checked = subprocess.run(
        ["unshare", "--net", "nft", "-c", "-f", "-"], input=text, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert all(f"{address} . {port}" in text for address, port in endpoints)


@needs_root
@needs_nft
def test_install_is_idempotent_and_remove_leaves_nothing() -> None:
    """However often, and whatever a crashed run left: one rule and one route a family, one table; then none."""
    found = in_namespace("""
note("before")
for _ in range(3):
    for family in (AF_INET, AF_INET6):
        await transparent.install(family)
    await transparent.update([("10.0.0.11", 500), ("fd00::11", 500)], {AF_INET: 40001, AF_INET6: 40002})
note("installed")
await transparent.update([("10.0.0.12", 4500)], {AF_INET: 40001})
note("updated")
for _ in range(2):
    await transparent.remove()
note("removed")
""")
    assert found["before"] == found["removed"]
    assert found["installed"]["rules"] == ["466", "466"]
    assert found["installed"]["routes"] == [
        ["local", "default", "dev", "lo", "scope", "host"],
        ["local", "default", "dev", "lo", "metric", "1024", "pref", "medium"],
    ]
    assert "10.0.0.11 . 500" in found["installed"]["nft"]
    assert "tproxy ip6 to [::1]:40002" in found["installed"]["nft"]
    assert "10.0.0.11" not in found["updated"]["nft"]
    assert "10.0.0.12 . 4500" in found["updated"]["nft"]


@needs_root
@needs_nft
def test_what_others_configured_is_left_alone() -> None:
    """Rules, routes and tables of other programs come through installing and removing unchanged."""
    found = in_namespace("""
for command in (
    "ip rule add fwmark 0x1 lookup 100",
    "ip rule add fwmark 0x1ce lookup 101",
    "ip route add local 192.0.2.0/24 dev lo table 100",
    "nft add table inet filter",
):
    subprocess.run(command.split(), check=True)
note("before")
await transparent.install(AF_INET)
await transparent.update([("10.0.0.11", 500)], {AF_INET: 40001})
await transparent.remove()
note("after")
""")
    assert found["before"] == found["after"]
    assert found["after"]["rules"] == ["101", "100"]


RETURN_PATH = """
forwarder = Forwarder(10, 10, Starvation(EventLog()), SessionEvents(EventLog()))
path = ReturnPath(Pump(forwarder), {}, forwarder)
"""


@needs_root
@needs_nft
def test_return_path_follows_the_real_servers() -> None:
    """It opens with the first transparent server, changes with them, and is gone with the last."""
    found = in_namespace(
        RETURN_PATH
        + """
await path.follow([("10.0.0.11", 500)])
note("one")
await path.follow([("10.0.0.11", 500), ("fd00::11", 500)])
note("both")
await path.follow([])
note("none")
await path.follow([("10.0.0.11", 500)])
await path.close()
note("closed")
"""
    )
    assert found["one"]["rules"] == ["466"]
    assert found["both"]["rules"] == ["466", "466"]
    assert "fd00::11 . 500" in found["both"]["nft"]
    nothing = {"rules": [], "routes": [[], []], "nft": ""}
    assert found["none"] == found["closed"] == nothing


TAKEN_AWAY = {
    "flushed ruleset": ("nft flush ruleset", ["TABLE"]),
    "flushed chain": ("nft flush chain inet ikeconsole return_path", ["TABLE"]),
    "flushed servers": ("nft flush set inet ikeconsole real_servers_v6", ["TABLE"]),
    "no rules": ("ip rule flush; ip rule add lookup main pref 32766", ["RULE"]),
    "no IPv6 rule": ("ip -6 rule del fwmark 0x1ce", ["RULE"]),
    "no routes": ("ip route flush table 466; ip -6 route flush table 466", ["ROUTE"]),
    "lo down and up": ("ip link set lo down; ip link set lo up", ["ROUTE"]),
    "everything": ("nft flush ruleset; ip rule del fwmark 0x1ce; ip route flush table 466", ["RULE", "ROUTE", "TABLE"]),
}


@needs_root
@needs_nft
@pytest.mark.parametrize("what", TAKEN_AWAY)
def test_what_somebody_takes_away_is_told_by_the_kernel_and_put_back(what: str) -> None:
    """As soon as the engine hears of it, all is as it was; nothing is done while all is well."""
    command, parts = TAKEN_AWAY[what]
    found = in_namespace(
        RETURN_PATH
        + f"""
from engine.net.kernel_news import KernelNews
def shown():
    said = seen()
    said["nft"] = sorted(line.strip() for line in said["nft"].split(chr(10)))
    return said
await path.follow([("10.0.0.11", 500), ("fd00::11", 500)])
before = shown()
with KernelNews() as news:
    out["untouched"] = [part.name for part in await path.restore()]
    subprocess.run("nft add table inet other; ip rule add fwmark 0x1 lookup 100", shell=True, check=True)
    with trio.move_on_after(0.2) as patience:
        await news.touched()
    out["others heard"] = not patience.cancelled_caught
    subprocess.run({command!r}, shell=True, check=True)
    out["harmed"] = shown() != before
    with trio.fail_after(2):
        await news.touched()
    out["restored"] = [part.name for part in await path.restore()]
    subprocess.run("nft delete table inet other; ip rule del fwmark 0x1", shell=True, capture_output=True)
    out["same"] = shown() == before
    out["again"] = [part.name for part in await path.restore()]
await path.close()
out["closed"] = [part.name for part in await path.restore()]
note("end")
"""
    )
    assert found.pop("end")["nft"] == ""
    assert found == {
        "untouched": [],
        "others heard": False,
        "harmed": True,
        "restored": parts,
        "same": True,
        "again": [],
        "closed": [],
    }


@needs_root
@needs_nft
def test_what_is_lost_among_too_much_news_may_have_been_of_the_return_path() -> None:
    """So the engine looks, though none of what it heard was."""
    found = in_namespace("""
from engine.net import kernel_news
kernel_news._BUFFER_BYTES = 1
with kernel_news.KernelNews() as news:
    rules = "".join(f"rule add fwmark {mark} lookup 100\\n" for mark in range(1, 500))
    subprocess.run(["ip", "-batch", "-"], input=rules, text=True, check=True)
    with trio.move_on_after(2) as patience:
        await news.touched()
out["heard"] = not patience.cancelled_caught
""")
    assert found == {"heard": True}


STRANGERS = """
import socket
for line in ("link add in0 address 02:00:00:00:00:01 type veth peer name out0", "link set in0 up", "link set out0 up"):
    subprocess.run(["ip", *line.split()], check=True)
mac = bytes.fromhex("020000000001")
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("out0", 0))
def arrives(source, sport, client):
    v6 = ":" in source
    address = lambda text: socket.inet_pton(socket.AF_INET6 if v6 else socket.AF_INET, text)
    udp = sport.to_bytes(2) + (4500).to_bytes(2) + (9).to_bytes(2) + bytes(2) + b"x"
    if v6:
        ip = bytes([0x60, 0, 0, 0, 0, len(udp), 17, 64]) + address(source) + address(client)
    else:
        ip = bytes([0x45, 0, 0, 20 + len(udp), 0, 0, 0, 0, 64, 17]) + bytes(2) + address(source) + address(client)
        total = sum(int.from_bytes(ip[at : at + 2]) for at in range(0, 20, 2))
        total = (total & 0xFFFF) + (total >> 16)
        ip = ip[:10] + (~total & 0xFFFF).to_bytes(2) + ip[12:]
    wire.send(mac + bytes(6) + (0x86DD if v6 else 0x0800).to_bytes(2) + ip + udp)
servers = [("10.0.0.11", 500), ("10.0.0.11", 4500), ("fd00::11", 500)]
"""


@needs_root
@needs_nft
def test_who_answers_clients_from_elsewhere_is_remembered_by_the_kernel() -> None:
    """Another address with an IKE port and a real server's other ports are; its own ports and other traffic are not."""
    found = in_namespace(
        RETURN_PATH
        + STRANGERS
        + """
await path.follow(servers)
for source, sport in (("10.0.0.11", 500), ("10.0.0.99", 500), ("10.0.0.98", 53), ("10.0.0.11", 1024)):
    arrives(source, sport, "192.0.2.7" if sport != 1024 else "192.0.2.8")
arrives("fd00::99", 500, "2001:db8::7")
out["heard"] = sorted(await path.strangers())
await path.close()
out["closed"] = await path.strangers()
"""
    )
    assert found["heard"] == [["10.0.0.11", "192.0.2.8"], ["10.0.0.99", "192.0.2.7"], ["fd00::99", "2001:db8::7"]]
    assert found["closed"] == []


@needs_root
def test_without_nft_nothing_is_left_behind(tmp_path: Path) -> None:
    """A missing program is named with its package; rule and route that were made already are taken back."""
    for name in ("ip", "unshare"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    found = in_namespace(
        RETURN_PATH
        + """
def seen():
    return {f: subprocess.run(["ip", f, "rule", "show"], capture_output=True, text=True).stdout for f in ("-4", "-6")}
note("before")
try:
    await path.follow([("10.0.0.11", 500), ("fd00::11", 500)])
except transparent.PlumbingError as error:
    out["error"] = str(error)
note("after")
await path.close()
""".replace("def seen():", "global seen\ndef seen():"),
        path=str(tmp_path),
    )
    assert found["before"] == found["after"]
    assert "install the package nftables" in str(found["error"])


@needs_root
@needs_nft
def test_refused_update_keeps_what_was_in_force() -> None:
    """Servers that nft will not have leave the table of before, and the next change works again."""
    found = in_namespace(
        RETURN_PATH
        + """
await path.follow([("10.0.0.11", 500)])
note("good")
try:
    await path.follow([("10.0.0.11", 500), ("not-an-address.invalid", 500)])
except transparent.PlumbingError as error:
    out["error"] = str(error)
note("refused")
await path.follow([("10.0.0.12", 500)])
note("better")
await path.close()
"""
    )
    assert found["refused"] == found["good"]
    assert 'set source = "snat"' in str(found["error"])
    assert "10.0.0.12 . 500" in found["better"]["nft"]


def test_without_privilege_the_message_says_so() -> None:
    """An ordinary user is told what to do."""
    told = told_as_nobody(lambda: trio.run(transparent.install, AF_INET))
    assert told.startswith("PlumbingError: `ip -4 route replace")
    assert "run as root or give CAP_NET_ADMIN" in told
