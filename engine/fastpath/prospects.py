"""What the fast path could do on this machine, found out without putting a program on any device."""

from __future__ import annotations

from engine.config.schema import Config
from engine.fastpath.bpf import BpfError, Object, attached_program
from engine.fastpath.devices import wanted_devices
from engine.fastpath.errors import FastPathError
from engine.fastpath.interfaces import Interface, hides_tags, list_interfaces, merges_packets, route_to
from engine.fastpath.libbpf import library
from engine.fastpath.program import OBJECT
from engine.prospects import Prospect, Prospects


def look_ahead(config: Config) -> Prospects:
    """What a configuration's fast path would find; the program is loaded on trial, with no room for flows."""
    version, failure = "", ""
    devices: tuple[Prospect, ...] = ()
    try:
        version = library().libbpf_version_string().decode().removeprefix("v")
        with Object.open(OBJECT) as trial:
            trial.load()
        interfaces = list_interfaces()
        devices = tuple(map(_prospect, wanted_devices(config, interfaces, route_to).values()))
    except FastPathError as error:
        failure = str(error)
    return Prospects(version, failure, devices)


def _prospect(interface: Interface) -> Prospect:
    try:
        there = attached_program(interface.index)
    except BpfError:
        there = None
    return Prospect(
        name=interface.name,
        kind=interface.kind,
        program=f"{there.program_name or 'unnamed'}, id {there.program_id}" if there else "",
        merges_packets=merges_packets(interface),
        hides_tags=interface.carries_vlans and hides_tags(interface),
    )
