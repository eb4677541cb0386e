"""Where the fast path cannot be had, or not all of it: tunnels work as well, and the status says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bpf_objects import build
from harness.fast_path import check_fast, check_transfer, start
from harness.lab import Lab
from harness.namespaces import Namespace
from harness.peers import Client, Profile
from harness.plan import LAN, Family

pytestmark = pytest.mark.e2e

FOREIGN = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") int foreign(struct xdp_md *ctx) { (void)ctx; return XDP_PASS; }
"""


@pytest.fixture(autouse=True)
def _tidy(fast_lab: Lab) -> Iterator[None]:
    yield
    fast_lab.balancer.close()
    fast_lab.tidy()


def connect(lab: Lab) -> list[Client]:
    """A client for each family, with a tunnel."""
    clients = [lab.clients["c1"], lab.clients["c2"]]
    for client, family in zip(clients, Family, strict=True):
        client.connect(lab.vip[family], Profile.CERT)
        client.await_data()
    return clients


def check_slow(lab: Lab) -> None:
    """Tunnels work, and no packet passes in the kernel."""
    for client in connect(lab):
        check_transfer(lab, client)
    assert lab.balancer.kernel_flows() == []


@pytest.fixture
def deaf_lab(fast_lab: Lab) -> Iterator[Lab]:
    """What native XDP redirects to the balancer's device on the servers' side is dropped."""
    fast_lab.topology.drop_redirected_frames(LAN)
    yield fast_lab
    fast_lab.topology.take_redirected_frames()


@pytest.mark.parametrize("setting", ["auto", "generic"])
def test_all_devices_run_in_generic_mode_where_one_drops_redirected_frames(deaf_lab: Lab, setting: str) -> None:
    """The status says which, and what to do, unless generic mode is what is configured."""
    status = start(deaf_lab, "snat", setting)
    assert status.fast_path == "generic"
    assert {device.mode for device in status.kernel.devices} == {"generic"}
    assert ("lan0 takes no redirected frames" in status.fast_path_reason) is (setting == "auto")
    check_fast(deaf_lab, *connect(deaf_lab))


def test_what_leaves_by_a_device_that_drops_redirected_frames_takes_the_slow_path_in_native_mode(deaf_lab: Lab) -> None:
    status = start(deaf_lab, "snat", "native")
    assert status.fast_path == "native"
    assert "lan0 takes no redirected frames" in status.fast_path_reason
    for client in connect(deaf_lab):
        check_transfer(deaf_lab, client)


@pytest.mark.parametrize("mode", ["xdpgeneric", "xdpdrv"])
def test_a_foreign_xdp_program_is_left_alone(fast_lab: Lab, tmp_path: Path, mode: str) -> None:
    """What comes in by its device takes the slow path; the status names it."""
    namespace = fast_lab.balancer.node.namespace
    source = tmp_path / "foreign.bpf.c"
    source.write_text(FOREIGN)
    namespace.ip(f"link set dev lan0 {mode} obj {build(source, tmp_path)} sec xdp")
    try:
        before = xdp_of(namespace, "lan0")
        status = start(fast_lab, "snat")
        assert status.fast_path_reason.startswith('another XDP program ("foreign"')
        assert {device.name: device.mode for device in status.kernel.devices} == {"wan0": "native", "lan0": ""}
        for client in connect(fast_lab):
            check_transfer(fast_lab, client)
        fast_lab.balancer.stop()
        assert xdp_of(namespace, "lan0") == before
    finally:
        namespace.ip(f"link set dev lan0 {mode} off")


@pytest.mark.parametrize("lacking", ["net_admin,sys_admin", "bpf,perfmon,net_admin,sys_admin"])
def test_an_engine_without_privilege_keeps_to_the_slow_path(fast_lab: Lab, lacking: str) -> None:
    """And says which capabilities it lacks."""
    without = ",".join(f"-{capability}" for capability in lacking.split(","))
    status = start(fast_lab, "snat", under=("setpriv", f"--bounding-set={without}"))
    assert status.fast_path == "off"
    assert "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN" in status.fast_path_reason
    check_slow(fast_lab)


def test_an_engine_without_libbpf_keeps_to_the_slow_path(fast_lab: Lab) -> None:
    """The library is hidden from it by an empty file; the status says which package it is in."""
    (library,) = {path.resolve() for path in Path("/usr/lib").glob("*-linux-gnu/libbpf.so.1")}
    # `ip netns exec` gives what it starts mounts of its own.
    hide = f'mount --bind /dev/null {library} && exec "$@"'
    status = start(fast_lab, "snat", under=("sh", "-c", hide, "sh"))
    assert status.fast_path == "off"
    assert "libbpf.so.1 is missing: install the package libbpf1" in status.fast_path_reason
    check_slow(fast_lab)


def xdp_of(namespace: Namespace, device: str) -> Any:
    """What XDP program a device has."""
    (link,) = json.loads(namespace.run("ip", "-json", "link", "show", device))
    return link["xdp"]
