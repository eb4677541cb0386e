"""The settings in which faults are tried: both paths, both sources, and a settled tunnel of each address family."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from engine.control.calls import ListEvents
from engine.fastpath.pins import Pins, instance_name
from engine.survival.saving import JOURNAL, SAVED_EVERY_S
from harness import fast_path
from harness.balancer import TREE, Table
from harness.lab import Lab
from harness.peers import Client
from harness.plan import Family
from harness.waiting import eventually

UNDER = ("nsenter", f"--mount=/proc/{os.getpid()}/ns/mnt", f"--wd={TREE}")
"""`ip netns exec` hides the BPF file system behind a fresh /sys, and what is mounted meanwhile."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A path, and what servers see as source."""

    path: str
    source: str
    pool: bool = False
    """Whether the snat addresses are chosen: then flows need no sockets on the fast path."""

    def __str__(self) -> str:
        return f"{self.path} path, {self.source}{', addresses chosen' if self.pool else ''}"

    def configure(self, lab: Lab) -> Table:
        """Put a configuration for it on disk; returns it."""
        config = fast_path.configure(lab, self.source, "native" if self.path == "fast" else "off")
        if self.pool:
            for family, service in zip(Family, config["service"], strict=True):
                service["snat_addresses"] = [lab.balancer.node.addresses[family]]
            lab.balancer.write(config)
        return config

    def start(self, lab: Lab, *, under: Sequence[str] = ()) -> None:
        """Start the engine with what is on disk, `under` a command that starts another."""
        lab.balancer.start(*UNDER, *under)
        eventually(
            lambda: "is starting" not in lab.balancer.status().fast_path_reason, "the fast path is decided about"
        )

    def connect(self, lab: Lab) -> list[Client]:
        """A client for each family, with a tunnel that takes the path and whose session is on disk."""
        clients = [lab.clients["c1"], lab.clients["c2"]]
        for client, family in zip(clients, Family, strict=True):
            client.connect(lab.vip[family])
            client.await_data()
            if self.path == "fast":
                fast_path.await_fast(lab, client)
        time.sleep(2 * SAVED_EVERY_S)
        assert (lab.balancer.state_dir / JOURNAL).exists()
        return clients


FAST, FAST_SNAT = Setting("fast", "transparent"), Setting("fast", "snat")
FAST_POOL = Setting("fast", "snat", pool=True)
SLOW, SLOW_SNAT = Setting("slow", "transparent"), Setting("slow", "snat")


def in_settings(*settings: Setting) -> pytest.MarkDecorator:
    """Run a test in each of these."""
    return pytest.mark.parametrize("setting", settings, ids=str)


def await_alarm(lab: Lab, kind: str, saying: str = "", timeout_s: float = 15) -> str:
    """Wait until an alarm stands that says something; what an operator reads, remedy and all."""

    def standing() -> str:
        told = [f"{one.text}; {one.remedy}" for one in lab.balancer.status().alarms if one.kind == kind]
        return next((text for text in told if saying in text), "")

    return eventually(standing, f"the alarm {kind} stands", timeout_s)


def await_no_alarm(lab: Lab, kind: str, timeout_s: float = 15) -> None:
    """Wait until an alarm is over."""
    eventually(lambda: kind not in {one.kind for one in lab.balancer.status().alarms}, f"{kind} is over", timeout_s)


def events(lab: Lab, kind: str) -> list[str]:
    """What the engine has told of a kind."""
    return [event.text for event in lab.balancer.ask(ListEvents(limit=200)) if event.kind == kind]


def adoption_told(lab: Lab) -> str:
    """What the engine has told of the sessions that it took over, for the table of faults."""
    return f"sessions-adopted: {events(lab, 'sessions-adopted')[-1]}"


def as_installed(lab: Lab, text: str) -> str:
    """What an engine says, as it would be said where it is installed."""
    balancer = lab.balancer
    text = text.replace(str(balancer.config_path), "/etc/ikeconsole/config.toml")
    return text.replace(str(balancer.state_dir), "/var/lib/ikeconsole")


def tidy(lab: Lab) -> None:
    """Leave nothing of an engine and its tunnels."""
    lab.balancer.close()
    Pins(instance_name(lab.balancer.state_dir)).drop()
    lab.tidy()
