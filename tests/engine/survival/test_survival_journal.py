"""The file of sessions: any beginning of it makes sense, and nothing that stands in it stops an engine."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from survival_world import SavedWorld

from engine.survival.adoption import Adoption
from engine.survival.journal import FIRST_LINE, FORMAT, Unusable, first_line, frame, parse_journal, read_journal
from engine.survival.moment import Moment
from engine.survival.records import Ended, kept_session
from engine.survival.saving import JOURNAL
from engine.survival.shelf import KEPT, set_aside
from tests.engine.sessions.roaming_peers import Peers
from tests.engine.sessions.session_world import World, audit

NOW = Moment(1000.0, 50.0, 1_700_000_000.0, "boot")


def a_session(number: int = 1) -> bytes:
    world = World()
    session = world.connect("198.51.100.1", number)
    return frame(NOW, [kept_session(session)])


async def a_life(directory: Path, seed: int) -> SavedWorld:
    """Clients that come, move, rekey and go, while every change is saved."""
    world = SavedWorld(directory, servers="abc")
    await world.saving.save()
    peers, chance = Peers(world), random.Random(seed)
    for step in range(60):
        match chance.randrange(6):
            case 0 | 1:
                host = f"198.51.100.{chance.randrange(1, 9)}"
                peers.connect((host, 10_000 + step), (host, 20_000 + step))
            case 2 if peers.tunnels:
                peers.send_data(chance.choice(peers.tunnels))
            case 3 if peers.tunnels:
                tunnel = chance.choice(peers.tunnels)
                tunnel.place = (f"203.0.113.{chance.randrange(1, 9)}", 30_000 + step)
                peers.ask(tunnel)
            case 4 if peers.tunnels:
                peers.rekey_ike(chance.choice(peers.tunnels), by_server=chance.random() < 0.5)
            case 5:
                world.later(chance.choice([1.0, 40.0, 400.0]))
                peers.give_up()
        await world.saving.save()
    world.saving.close()
    return world


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_any_beginning_of_a_journal_leads_to_a_consistent_table(tmp_path: Path, seed: int, cuts: list[float]) -> None:
    """An engine can be killed at any byte."""

    async def check() -> None:
        world = await a_life(tmp_path, seed)
        content = world.journal.read_bytes()
        for size in (*(round(cut * len(content)) for cut in cuts), len(content)):
            kept = parse_journal(content[:size])
            assert not kept.damage
            again = World(servers="abc")
            adoption = Adoption(kept, again.table, {"vpn": again.service}, Moment.now(trio.current_time()))
            for _ in adoption.run():
                pass
            for flow in adoption.adopted.flows:
                again.forwarder.adopt(again.listeners[flow.port], repr(flow.client).encode(), flow)
            again.adopted.update(session.server.name for session in again.sessions())
            audit(again)
            again.later(1.0)
            audit(again)
        whole = await world.after_restart(servers="abc")
        assert whole.picture().keys() == world.picture().keys()

    trio.run(check)


@given(st.binary(max_size=300))
def test_whatever_follows_the_first_line_raises_nothing(content: bytes) -> None:
    parse_journal(first_line() + content)


@given(st.binary(max_size=100))
def test_what_is_no_journal_is_said_to_be_none(content: bytes) -> None:
    try:
        assert not parse_journal(content).sessions
    except Unusable:
        assert content


def test_a_torn_end_is_nothing_wrong_and_zeros_after_a_power_cut_neither() -> None:
    whole = first_line() + a_session(1)
    second = a_session(2)
    for rest in (b"", second[:3], second[:-1], bytes(5000)):
        kept = parse_journal(whole + rest)
        assert (kept.damage, len(kept.sessions)) == ("", 1)


def test_damage_in_the_middle_is_told_and_what_is_before_it_is_used() -> None:
    frames = [a_session(1), a_session(1), frame(NOW, [Ended(1)])]
    damaged = bytearray(first_line() + b"".join(frames))
    damaged[len(first_line()) + len(frames[0]) + 40] ^= 1
    kept = parse_journal(bytes(damaged))
    assert "damaged" in kept.damage
    assert len(kept.sessions) == 1


def test_a_record_of_an_unknown_kind_ends_the_reading() -> None:
    import msgspec

    strange = msgspec.msgpack.encode([["m", 1.0, 1.0, 1.0, "boot"], ["z", 1]])
    from zlib import crc32

    content = first_line() + len(strange).to_bytes(4, "little") + crc32(strange).to_bytes(4, "little") + strange
    assert "cannot read" in parse_journal(content + a_session(1)).damage


def test_another_versions_file_is_named_as_such() -> None:
    with pytest.raises(Unusable, match=rf"by another version, in format {FORMAT + 1}; this version reads {FORMAT}"):
        parse_journal(FIRST_LINE % (FORMAT + 1) + a_session())


def test_no_file_and_an_empty_one_are_nothing(tmp_path: Path) -> None:
    assert not read_journal(tmp_path / "none").sessions
    (tmp_path / "empty").touch()
    assert not read_journal(tmp_path / "empty").sessions


def test_only_so_many_unusable_files_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        (tmp_path / JOURNAL).write_text(str(number))
        set_aside(tmp_path / JOURNAL)
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {f"{JOURNAL}.unusable-{number + 1}": str(number) for number in range(3, KEPT + 3)}
