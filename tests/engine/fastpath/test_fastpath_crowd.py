"""Many flows in a small table, as the engine writes it and the XDP program searches it: none is lost or mistaken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest
from bpf_objects import require_bpf
from fastpath_world import CLIENT_PORT, Direction, Family, World, passed_up, sent, to_server, world

from engine.fastpath.layout import Reason

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


def clients(family: Family) -> list[Direction]:
    """Clients behind one address, whose ports are mapped each to another one."""
    base = to_server(family)
    return [
        replace(
            base,
            before=replace(base.before, source_port=CLIENT_PORT + number),
            after=replace(base.after, source_port=1024 + number),
        )
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
    """More clients than fit: those for whom there was room are forwarded, each as itself; the others are passed up."""
    directions = clients(family)
    installed = {direction for direction in directions if small_world.has_room_for(direction)}
    assert 2 * SESSIONS < len(installed) < MORE_THAN_FIT
    check(small_world, directions, installed)


@families
def test_flows_that_go_leave_the_others_where_they_are(small_world: World, family: Family) -> None:
    """In a crowded table half of the flows go, and others come, again and again: each is found while it is there."""
    chance = Random(4500)
    directions = clients(family)
    installed: set[Direction] = set()
    for _ in range(ROUNDS):
        for direction in directions:
            if direction in installed and chance.random() < 0.5:
                small_world.remove(direction)
                installed.remove(direction)
            elif direction not in installed and small_world.has_room_for(direction):
                installed.add(direction)
        check(small_world, directions, installed)


@families
def test_an_emptied_table_is_as_new(small_world: World, family: Family) -> None:
    """All flows go: every one of them is passed up, and the same ones find room again."""
    directions = clients(family)
    installed = {direction for direction in directions if small_world.has_room_for(direction)}
    for direction in installed:
        small_world.remove(direction)
    check(small_world, directions, set())
    assert {direction for direction in directions if small_world.has_room_for(direction)} == installed
    check(small_world, directions, installed)
