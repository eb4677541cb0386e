"""What outlives the engine in the kernel, and what the next one makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bpf_objects import ip, private_network

from engine.config.schema import FastPath
from engine.fastpath.attachments import Attachments
from engine.fastpath.bpf import BpfError, XdpMode, attached_program
from engine.fastpath.devices import Egresses
from engine.fastpath.entries import Entries
from engine.fastpath.flow_table import FlowTable
from engine.fastpath.found import found_flows
from engine.fastpath.interfaces import Interface, list_interfaces
from engine.fastpath.layout import FLOW_V4, FLOW_V6, PROBES
from engine.fastpath.pins import Pins, digest_of, instance_name
from engine.fastpath.program import OBJECT, ForwardingProgram, TooSmall

DIGEST = digest_of(OBJECT)
V4 = (bytes([198, 51, 100, 7]), bytes([203, 0, 113, 10]), bytes([10, 0, 0, 1]), bytes([10, 0, 0, 11]))
V6 = tuple(bytes([0x20, 1, 0xD, 0xB8, *bytes(11), number]) for number in range(4))


@pytest.fixture
def devices() -> Iterator[dict[int, Interface]]:
    with private_network():
        ip("link add one type veth peer name two")
        for name in ("one", "two"):
            ip(f"link set {name} up")
        yield {index: found for index, found in list_interfaces().items() if found.kind == "veth"}


def entries(layout_addresses: tuple[bytes, ...], port: int = 4500) -> Entries:
    client, service, source, server = layout_addresses
    return Entries(
        FLOW_V4 if len(client) == 4 else FLOW_V6,
        from_client=client + service + port.to_bytes(2, "big") + (4500).to_bytes(2, "big"),
        to_server=source + server + (40_000).to_bytes(2, "big") + (4501).to_bytes(2, "big"),
        from_server=server + source + (4501).to_bytes(2, "big") + (40_000).to_bytes(2, "big"),
        to_client=service + client + (4500).to_bytes(2, "big") + port.to_bytes(2, "big"),
    )


def insert(table: FlowTable, one: Entries, total: int = 6) -> None:
    assert table.insert(one.from_client, one.to_server, total, 0) is not None
    assert table.insert(one.from_server, one.to_client, total + 1, 0) is not None


def fresh_table(layout: object = FLOW_V4) -> FlowTable:
    assert layout in (FLOW_V4, FLOW_V6)
    chosen = FLOW_V4 if layout is FLOW_V4 else FLOW_V6
    memory = memoryview(bytearray((64 + PROBES) * chosen.flow_bytes))
    return FlowTable(chosen, memory, 64, (1, 3), lambda: 0.0)


@pytest.mark.parametrize("addresses", [V4, V6], ids=["IPv4", "IPv6"])
def test_flows_are_read_as_they_were_written(addresses: tuple[bytes, ...]) -> None:
    one = entries(addresses)
    table = fresh_table(one.layout)
    insert(table, one)
    (found,) = found_flows(table)
    assert (found.entries, found.total) == (one, 6)
    told = found.described(0)
    assert [end[1] for end in (told.client, told.service, told.source, told.server)] == [4500, 4500, 40_000, 4501]
    assert told.client[0] == ("198.51.100.7" if addresses is V4 else "2001:db8::")
    assert len(told.client) == (2 if addresses is V4 else 4)


@pytest.mark.parametrize("half", ["from_client", "from_server"])
def test_what_a_killed_engine_had_half_written_is_removed(half: str) -> None:
    one, whole = entries(V4), entries(V4[::-1], port=4777)
    table = fresh_table()
    insert(table, whole)
    becomes = {"from_client": one.to_server, "from_server": one.to_client}
    assert table.insert(getattr(one, half), becomes[half], 2, 0) is not None
    assert [found.entries for found in found_flows(table)] == [whole]
    assert len(list(table.live())) == 2


def test_program_maps_and_flows_are_found_again(pins: Pins) -> None:
    one = entries(V4)
    with closing(ForwardingProgram(16)) as program:
        pins.keep(DIGEST, program.parts())
        insert(program.flows[FLOW_V4], one)
        program.set_port(3, 1)
        program.set_egress(1, 3, 77)
        program.set_egress(2, 3, None)
        program.set_shield(bytes(20), bytes(40))
        number = program.program.id
    left = pins.find(DIGEST)
    assert left is not None
    with closing(ForwardingProgram(16, found=left)) as again:
        assert again.program.id == number
        assert [found.entries for found in found_flows(again.flows[FLOW_V4])] == [one]
        assert again.open_ports() == {1: 3}
        assert again.open_egresses() == {1: (3, 77), 2: (3, None)}
        again.clear_shields()
        assert not again._shields.list_keys()
        egresses = Egresses(again)
        egresses.take_over()
        egresses.follow([], {})
        assert (again.open_ports(), again.open_egresses()) == ({}, {})
    assert pins.find("another") is None


def test_tables_that_are_too_small_are_not_taken(pins: Pins) -> None:
    with closing(ForwardingProgram(16, [FLOW_V4])) as program:
        pins.keep(DIGEST, program.parts())
    for room in ((17, [FLOW_V4]), (16, [FLOW_V4, FLOW_V6])):
        with pytest.raises(TooSmall):
            ForwardingProgram(*room, pins.find(DIGEST))
    ForwardingProgram(16, [FLOW_V4], pins.find(DIGEST)).close()


def test_a_link_goes_on_without_its_engine_and_ends_when_it_is_released(
    pins: Pins, devices: dict[int, Interface]
) -> None:
    with closing(ForwardingProgram(16)) as program:
        attachments = Attachments(program.program, FastPath.GENERIC, pins)
        attachments.follow(devices)
        attachments.leave()
        pins.keep(DIGEST, program.parts())
        number = program.program.id
    assert {attached_program(index).program_id for index in devices} == {number}  # type: ignore[union-attr]
    assert pins.devices() == ["one", "two"]
    with closing(ForwardingProgram(16, found=pins.find(DIGEST))) as again:
        attachments = Attachments(again.program, FastPath.GENERIC, pins)
        assert attachments.take_over()
        assert {one.mode for one in attachments.follow(devices)} == {XdpMode.GENERIC}
        assert {attached_program(index).program_id for index in devices} == {number}  # type: ignore[union-attr]
        attachments.close()
    assert not any(attached_program(index) for index in devices)
    assert pins.devices() == []


def test_another_program_takes_a_links_place(pins: Pins, devices: dict[int, Interface]) -> None:
    with closing(ForwardingProgram(16)) as old:
        attachments = Attachments(old.program, FastPath.GENERIC, pins)
        attachments.follow(devices)
        attachments.leave()
    with closing(ForwardingProgram(16)) as new:
        attachments = Attachments(new.program, FastPath.GENERIC, pins)
        assert attachments.take_over()
        assert {attached_program(index).program_id for index in devices} == {new.program.id}  # type: ignore[union-attr]
        attachments.close()


def test_the_link_of_a_device_that_is_gone_is_dropped(pins: Pins, devices: dict[int, Interface]) -> None:
    with closing(ForwardingProgram(16)) as program:
        attachments = Attachments(program.program, FastPath.GENERIC, pins)
        attachments.follow(devices)
        attachments.leave()
        ip("link del one")
        assert not Attachments(program.program, FastPath.GENERIC, pins).take_over()
    assert pins.devices() == []


def test_where_nothing_can_be_pinned_it_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BpfError, match="cannot be made"):
        Pins("name", tmp_path / "file").begin()


def test_a_mount_of_another_file_system_is_no_place_for_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd mounts what is there once more, for a service that may only read it."""
    monkeypatch.setattr("engine.fastpath.pins.BPF_FILE_SYSTEM", Path("/proc"))
    with pytest.raises(BpfError, match="no BPF file system is mounted: mount -t bpf bpf /proc"):
        Pins("name", Path("/proc/ikeconsole")).begin()


def test_names_are_told_apart_and_have_no_dots() -> None:
    names = {instance_name(Path(path)) for path in ("/var/lib/a.b", "/var/lib/a-b", "/var/lib/a/b", "/")}
    assert len(names) == 4
    assert not any("." in name or "/" in name for name in names)
    assert instance_name(Path("/var/lib/ikeconsole/")) == instance_name(Path("/var/lib/ikeconsole"))
