"""Many flows in a small table, as the engine writes it and the XDP program searches it: none is lost or mistaken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from random import Random

import pytest
from bpf_objects import require_bpf
from fastpath_world import Direction, Ends, Family, World, passed_up, sent, to_server, world

from engine.fastpath.layout import FLOW_V6, Reason

families = pytest.mark.parametrize("family", list(Family))
SESSIONS = 64
MORE_THAN_FIT = 300
ROUNDS = 4


@pytest.fixture
def small_world() -> Iterator[World]:
    """A balancer for few sessions."""
    require_bpf()
    with world(SESSIONS) as built:
        yield built


def changed(ends: Ends, number: int) -> Ends:
    """A tuple that differs from others in any one part, or in a part of an IPv6 address."""
    apart = number + 1
    if ends.layout is FLOW_V6:
        apart <<= 32 * (number // 4 % 4)
    match number % 4:
        case 0:
            return replace(ends, source=str(ip_address(ends.source) + apart))
        case 1:
            return replace(ends, destination=str(ip_address(ends.destination) + apart))
        case 2:
            return replace(ends, source_port=ends.source_port + number)
        case _:
            return replace(ends, destination_port=ends.destination_port + number)


def flows_alike(family: Family) -> list[Direction]:
    """Flows whose packets differ in one part as they come, and leave from a port for each."""
    base = to_server(family)
    return [
        replace(base, before=changed(base.before, number), after=replace(base.after, source_port=1024 + number))
        for number in range(MORE_THAN_FIT)
    ]


def check(small_world: World, directions: list[Direction], installed: set[Direction]) -> None:
    """Run a packet of each."""
    for direction in directions:
        frame = bytes(direction.frame())
        expected = sent(direction.forwarded()) if direction in installed else passed_up(frame, Reason.MISS)
        assert small_world.run(frame) == expected


@families
def test_in_a_full_table_each_flow_is_found(small_world: World, family: Family) -> None:
    """More flows than fit: those for whom there was room are forwarded, each as itself; the others are passed up."""
    directions = flows_alike(family)
    installed = {direction for direction in directions if small_world.try_to_install(direction)}
    assert 2 * SESSIONS < len(installed) < MORE_THAN_FIT
    check(small_world, directions, installed)


@families
def test_flows_that_go_leave_the_others_where_they_are(small_world: World, family: Family) -> None:
    """In a crowded table half of the flows go, and others come, again and again: each is found while it is there."""
    chance = Random(4500)
    directions = flows_alike(family)
    installed: set[Direction] = set()
    for _ in range(ROUNDS):
        for direction in directions:
            if direction in installed and chance.random() < 0.5:
                small_world.remove(direction)
                installed.remove(direction)
            elif direction not in installed and small_world.try_to_install(direction):
                installed.add(direction)
        check(small_world, directions, installed)


@families
def test_an_emptied_table_is_as_new(small_world: World, family: Family) -> None:
    """All flows go: every one of them is passed up, and the same ones find room again."""
    directions = flows_alike(family)
    installed = {direction for direction in directions if small_world.try_to_install(direction)}
    for direction in installed:
        small_world.remove(direction)
    check(small_world, directions, set())
    assert {direction for direction in directions if small_world.try_to_install(direction)} == installed
    check(small_world, directions, installed)
