"""Sessions that a restart of the engine does not end: what the next one knows of them, and what not."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
import trio
from survival_world import SavedWorld
from trio.testing import MockClock

from engine.config.schema import AdminState, PersistenceKind, Source
from engine.sessions.fast_path import Forwarded
from engine.sessions.flow import Flow
from engine.sessions.session import Phase
from engine.sessions.trouble import last_trouble
from engine.survival import moment
from engine.survival.journal import first_line, frame, parse_journal
from engine.survival.moment import Moment
from engine.survival.saving import JOURNAL
from engine.wire.header import Exchange
from engine.wire.notifies import NotifyType
from tests.engine.sessions.session_world import (
    IKE,
    NAT_T,
    answer_spi,
    audit,
    auth,
    auth_answer,
    complaint,
    encrypted,
    esp,
    init,
    init_answer,
)

HOST, OTHER = "198.51.100.1", "198.51.100.2"
DATA = Path(__file__).parents[2] / "data"
pytestmark = pytest.mark.trio


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The machine's clocks go as the engine's does."""
    machine = Machine()
    monkeypatch.setattr(moment.Moment, "now", machine.now)
    return machine


class Machine:
    """Where the engine runs."""

    def __init__(self) -> None:
        self.boot = "this boot"
        self.stepped_s = 0.0
        """By how much the wall clock was set."""
        self.booted_s = 0.0

    def now(self, engine_s: float) -> Moment:
        return Moment(engine_s, engine_s - self.booted_s, 1_700_000_000 + engine_s + self.stepped_s, self.boot)

    def reboot(self, up_for_s: float) -> None:
        """Have been started anew so long ago."""
        self.boot, self.booted_s = "another boot", trio.current_time() - up_for_s


async def saved_world(tmp_path: Path, **settings: object) -> SavedWorld:
    """Two tunnels with data, a session that is being set up, and a pin."""
    world = SavedWorld(tmp_path, **settings)
    for number, host in enumerate((HOST, OTHER), start=1):
        world.connect(host, number)
        world.client_sends((host, 4500), NAT_T, esp(0x1000 + number))
        assert world.server_sends((host, 4500), NAT_T, esp(0x2000 + number))
        world.client_sends((host, 4500), NAT_T, esp(0x1000 + number))
    assert world.client_sends(("198.51.100.3", 500), IKE, init(3))
    assert world.server_sends(("198.51.100.3", 500), IKE, init_answer(3))
    world.service.persistence.pin("198.51.100.9/32", world.server("b"), world.now_s)
    await world.saving.save()
    return world


@pytest.mark.parametrize("source", list(Source))
async def test_a_restarted_engine_knows_every_session_as_it_was(tmp_path: Path, source: Source) -> None:
    world = await saved_world(tmp_path, source=source)
    world.saving.close()
    again = await world.after_restart(source=source)
    assert again.picture() == world.picture()
    assert [pin.client for pin in again.service.persistence.pins] == ["198.51.100.9/32"]
    assert {record.client for record in again.service.persistence} == {r.client for r in world.service.persistence}
    audit(again)
    assert again.told("sessions-adopted") == ["3 sessions go on; no engine was there for 0 s"]


async def test_a_handshake_goes_on_where_it_began(tmp_path: Path) -> None:
    world = await saved_world(tmp_path)
    server = world.service.by_spi[3].server.name
    again = await world.after_restart()
    client = ("198.51.100.3", 4500)
    assert again.client_sends(client, NAT_T, auth(3)) == server
    assert again.server_sends(client, NAT_T, auth_answer(3))
    assert len(again.sessions()) == 3


async def test_new_sessions_get_numbers_of_their_own(tmp_path: Path) -> None:
    again = await (await saved_world(tmp_path)).after_restart()
    assert again.connect("198.51.100.4", 4).number > max(number for number in again.picture() if number != 4)
    assert len({session.number for session in again.sessions()}) == 4


async def test_clients_that_moved_are_known_by_their_spis(tmp_path: Path) -> None:
    world = await saved_world(tmp_path)
    servers = {number: world.service.by_spi[number].server.name for number in (1, 2)}
    again = await world.after_restart()
    elsewhere = ("203.0.113.77", 7777)
    assert again.client_sends(elsewhere, NAT_T, esp(0x1001)) == servers[1]
    other = ("203.0.113.78", 7777)
    assert again.client_sends(other, NAT_T, encrypted(2, Exchange.INFORMATIONAL, message_id=9)) == servers[2]


async def test_what_ends_in_the_last_second_is_not_taken_up(tmp_path: Path) -> None:
    world = await saved_world(tmp_path)
    world.table.close(world.service.by_spi[1])
    world.saving.close()
    again = await world.after_restart()
    assert again.picture() == world.picture()
    assert 1 not in again.picture()


async def test_a_killed_engine_loses_no_more_than_the_last_second(tmp_path: Path) -> None:
    world = await saved_world(tmp_path)
    before = world.picture()
    world.connect("198.51.100.4", 4)
    assert (await world.after_restart()).picture() == before
    await world.saving.save()
    assert (await world.after_restart()).picture() == world.picture()


async def test_sessions_of_servers_that_are_gone_or_disabled_do_not_go_on(tmp_path: Path) -> None:
    world = await saved_world(tmp_path)
    on_a = [session.number for session in world.sessions() if session.server.name == "a"]
    again = SavedWorld(tmp_path)
    again.configure("b", state=AdminState.DISABLED)
    adopted = await again.take_over()
    assert sorted(again.picture()) == on_a
    assert adopted.left_out == {"vpn/b is disabled": len(world.sessions()) - len(on_a)}
    assert "do not: " in again.told("sessions-adopted")[0] or "does not: " in again.told("sessions-adopted")[0]
    assert (await world.after_restart(servers="a")).picture().keys() == set(on_a)


async def test_silence_counts_only_while_an_engine_is_there(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A flow that was alive when the engine went is given a minute to be heard of."""
    world = await saved_world(tmp_path)
    world.saving.close()
    await trio.sleep(290)
    again = await world.after_restart()
    assert again.flow((HOST, 4500), NAT_T) is not None
    again.later(59)
    assert again.flow((HOST, 4500), NAT_T) is not None
    again.later(10)
    assert again.flow((HOST, 4500), NAT_T) is None
    assert again.service.by_spi[1].phase is Phase.IDLE


async def test_after_a_long_gap_sessions_sleep_and_after_a_very_long_one_they_are_over(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    world = await saved_world(tmp_path)
    world.saving.close()
    server = world.service.by_spi[1].server.name
    await trio.sleep(400)
    again = await world.after_restart()
    assert {session.phase for session in again.sessions()} == {Phase.IDLE}
    assert again.client_sends((HOST, 4500), NAT_T, encrypted(1, Exchange.INFORMATIONAL, message_id=9)) == server
    await trio.sleep(3600)
    late = SavedWorld(tmp_path)
    adopted = await late.take_over()
    assert not late.sessions()
    assert adopted.left_out["silent for too long"] == 2


@pytest.mark.parametrize("stepped_s", [-1e9, -3600.0, 3600.0, 1e9])
async def test_setting_the_clock_neither_ends_sessions_nor_lengthens_them(
    tmp_path: Path, autojump_clock: MockClock, machine: Machine, stepped_s: float
) -> None:
    """Be it while an engine runs or while none does."""
    world = await saved_world(tmp_path)
    machine.stepped_s = stepped_s / 2
    await world.saving.save()
    world.saving.close()
    await trio.sleep(20)
    machine.stepped_s = stepped_s
    again = SavedWorld(tmp_path)
    adopted = await again.take_over()
    assert adopted.gap_s == pytest.approx(20, abs=2)
    assert again.picture() == world.picture()
    later_s = 3600 + 300
    again.later(later_s)
    assert not again.sessions(), "they end when they would have"


@pytest.mark.parametrize("stepped_s", [-1_000_000.0, 0.0])
async def test_after_a_reboot_tunnels_still_lead_to_their_servers(
    tmp_path: Path, autojump_clock: MockClock, machine: Machine, stepped_s: float
) -> None:
    """The wall clock says how long that took; one that went back says nothing, but the machine is up for a while."""
    world = await saved_world(tmp_path)
    world.saving.close()
    await trio.sleep(100)
    machine.reboot(up_for_s=40)
    machine.stepped_s = stepped_s
    again = SavedWorld(tmp_path)
    adopted = await again.take_over()
    assert adopted.gap_s == pytest.approx(40 if stepped_s else 100, abs=2)
    assert len(again.sessions()) == 2, "nobody is being set up any more"


async def test_a_server_with_tunnels_is_not_down_for_one_lost_probe(tmp_path: Path) -> None:
    from engine.health.result import ProbeResult

    again = await (await saved_world(tmp_path)).after_restart()
    health = again.server("a").health
    lost = ProbeResult(ok=False, reason="timeout", rtt_s=None)
    assert health.observe(lost, again.now_s) is None
    assert health.observe(lost, again.now_s) is None
    transition = health.observe(lost, again.now_s)
    assert transition is not None
    assert transition.new == "down"


async def test_a_server_whose_tunnels_all_sleep_is_not_believed_to_be_alive(tmp_path: Path) -> None:
    """It was down when the engine before ended: its first lost probe tells that it still is."""
    from engine.health.result import ProbeResult

    world = await saved_world(tmp_path)
    world.fail("a")
    await world.saving.save()
    again = await world.after_restart()
    assert again.server("a").asleep
    transition = again.server("a").health.observe(ProbeResult(ok=False, reason="timeout", rtt_s=None), again.now_s)
    assert transition is not None
    assert transition.new == "down"


async def test_a_tunnel_that_sleeps_wakes_with_the_port_that_its_server_knows(tmp_path: Path) -> None:
    world = await saved_world(tmp_path, source=Source.SNAT)
    session, client = world.service.by_spi[1], (HOST, 4500)
    before = session.flows[-1].source
    assert before is not None
    world.fail("a")
    await world.saving.save()
    again = await world.after_restart(source=Source.SNAT)
    assert again.client_sends(client, NAT_T, esp(0x1001)) == "a"
    assert again.service.by_spi[1].flows[-1].source == before
    audit(again)
    elsewhere = await world.after_restart(source=Source.SNAT, snat_addresses=["192.0.2.77"])
    assert elsewhere.client_sends(client, NAT_T, esp(0x1001)) == "a"
    assert elsewhere.service.by_spi[1].source_address == "192.0.2.77"
    audit(elsewhere)


def forwarded(flow: Flow, **changes: object) -> Forwarded:
    """A flow as the kernel has it."""
    config = flow.service.config
    fields = {
        "client": flow.client,
        "service": (str(config.address), config.nat_t_port),
        "source": flow.source,
        "server": flow.server.endpoint(NAT_T),
        "client_silent_s": 1.0,
        "server_silent_s": 2.0,
        "esp_in": 0,
        "esp_out": 0,
        "found": None,
    }
    return Forwarded(**fields | changes)  # type: ignore[arg-type]


async def test_flows_in_the_kernel_are_joined_with_the_sessions_that_were_saved(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Also after a gap that was longer than any flow may be silent: the kernel heard it."""
    world = await saved_world(tmp_path, source=Source.SNAT)
    world.saving.close()
    flow = world.flow((HOST, 4500), NAT_T)
    assert flow is not None
    found = forwarded(flow, source=("192.0.2.1", 55_555))
    await trio.sleep(2_000)
    again = await world.after_restart(found, source=Source.SNAT)
    ((adopted, _),) = again.leftovers.adopted
    assert (adopted.client, adopted.source) == ((HOST, 4500), ("192.0.2.1", 55_555))
    assert adopted.last_in_s == pytest.approx(trio.current_time() - 1.0)
    assert again.service.by_spi[1].phase is Phase.ESTABLISHED
    assert again.service.by_spi[2].phase is Phase.IDLE


@pytest.mark.parametrize("gap_s", [1, 100])
async def test_a_tunnel_that_the_kernel_carries_is_up_though_it_was_saved_while_it_was_set_up(
    tmp_path: Path, autojump_clock: MockClock, gap_s: float
) -> None:
    """EAP takes its time: its last answer, and ESP, may come between the latest saving and the engine's end."""
    world = await handshake_in_kernel(tmp_path)
    flow = world.flow((OTHER, 4500), NAT_T)
    assert flow is not None
    await trio.sleep(gap_s)
    again = await world.after_restart(forwarded(flow, esp_in=0x1234_5678))
    session = again.only_session()
    assert (session.phase, session.spis) == (Phase.ESTABLISHED, ((1, answer_spi(1)),))
    assert [one.client for one, _ in again.leftovers.adopted] == [(OTHER, 4500)]
    assert again.leftovers.adopted[0][0].settled
    audit(again)


async def test_a_handshake_whose_flow_the_kernel_has_without_any_esp_goes_on(tmp_path: Path) -> None:
    """The first answer of EAP has the kernel get the flow; nothing has come of it yet."""
    world = await handshake_in_kernel(tmp_path)
    flow = world.flow((OTHER, 4500), NAT_T)
    assert flow is not None
    again = await world.after_restart(forwarded(flow))
    assert again.only_session().phase is Phase.AUTH
    audit(again)


async def handshake_in_kernel(tmp_path: Path) -> SavedWorld:
    """A session that was saved when its client had sent IKE_AUTH, and no later."""
    world = SavedWorld(tmp_path)
    assert world.client_sends((OTHER, 500), IKE, init(1))
    assert world.server_sends((OTHER, 500), IKE, init_answer(1))
    assert world.client_sends((OTHER, 4500), NAT_T, auth(1))
    await world.saving.save()
    return world


async def test_flows_that_only_the_kernel_knows_become_sessions_again(tmp_path: Path) -> None:
    world = await saved_world(tmp_path)
    flow = world.flow((HOST, 4500), NAT_T)
    assert flow is not None
    world.journal.unlink()
    gone = forwarded(flow, client=(OTHER, 4500), server=("10.0.0.99", 4500))
    silent = forwarded(flow, client=(OTHER, 4501), client_silent_s=400.0, server_silent_s=400.0)
    again = await world.after_restart(forwarded(flow), gone, silent)
    session = again.only_session()
    assert (session.server.name, session.host, session.phase) == (flow.server.name, HOST, Phase.ESTABLISHED)
    assert again.client_sends((HOST, 4500), NAT_T, esp(0x1001)) == flow.server.name
    assert sorted(one.client for one in again.leftovers.discarded) == [(OTHER, 4500), (OTHER, 4501)]
    audit(again)


@pytest.mark.parametrize("host", [HOST, OTHER])
async def test_a_client_that_only_the_kernel_knows_connects_anew_where_its_tunnel_is(tmp_path: Path, host: str) -> None:
    """Its flow on 4500 is not given up while the real server answers there: so port 500 follows it."""
    world = await saved_world(tmp_path, persistence=PersistenceKind.NONE)
    flow = world.flow((host, 4500), NAT_T)
    assert flow is not None
    world.journal.unlink()
    again = await world.after_restart(forwarded(flow), persistence=PersistenceKind.NONE)
    assert again.client_sends((host, 500), IKE, init(77)) == flow.server.name
    assert again.server_sends((host, 500), IKE, init_answer(77))
    assert again.client_sends((host, 4500), NAT_T, auth(77)) == flow.server.name
    assert again.server_sends((host, 4500), NAT_T, auth_answer(77))
    audit(again)


async def test_a_flow_that_moved_in_the_kernels_time_joins_its_session_by_spi(tmp_path: Path) -> None:
    world = await saved_world(tmp_path)
    flow = world.flow((HOST, 4500), NAT_T)
    assert flow is not None
    word = flow.esp_in[0]
    again = await world.after_restart(forwarded(flow, client=("203.0.113.5", 4500), esp_in=word))
    assert len(again.sessions()) == 3
    assert ("203.0.113.5", 4500) in {one.client for one in again.service.by_spi[1].flows}


async def test_a_full_table_takes_as_many_as_it_has_room_for(tmp_path: Path) -> None:
    world = await saved_world(tmp_path)
    again = SavedWorld(tmp_path, max_sessions=2)
    adopted = await again.take_over()
    assert len(again.sessions()) == 2
    assert adopted.left_out.total() == len(world.sessions()) - 2
    audit(again)


async def test_an_address_that_is_none_is_a_damaged_record(tmp_path: Path) -> None:
    """A journal whose records have the right shape and make no sense costs what it tells, not the start."""
    world = await saved_world(tmp_path)
    from msgspec.structs import replace

    from engine.survival.records import kept_session

    session = kept_session(world.service.by_spi[1])
    broken = replace(session, place=("not", "an address"))
    with world.journal.open("ab") as file:
        file.write(frame(Moment.now(trio.current_time()), [broken]))
    again = SavedWorld(tmp_path)
    adopted = await again.take_over()
    assert adopted.left_out["its record makes no sense"] == 1
    assert len(again.sessions()) == 2
    audit(again)


async def test_a_file_of_an_earlier_version_is_read(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Version 0.1.0 wrote it, in the world that is made anew here to compare."""
    (tmp_path / "new").mkdir()
    world = await saved_world(tmp_path / "new")
    shutil.copy(DATA / "sessions-0.1.0.journal", tmp_path / JOURNAL)
    again = SavedWorld(tmp_path)
    await again.take_over()
    assert again.picture() == world.picture()
    assert [pin.client for pin in again.service.persistence.pins] == ["198.51.100.9/32"]
    assert again.told("sessions-unusable") == []
    audit(again)


async def test_a_file_of_a_later_version_is_read_without_what_is_new(tmp_path: Path) -> None:
    """Who goes back to the version before loses no tunnel either."""
    world = await saved_world(tmp_path)
    kept = parse_journal(world.journal.read_bytes())
    assert kept.moment is not None
    later = [[*msgspec.to_builtins(one), "new", {"newer": 1}] for one in kept.sessions.values()]
    world.journal.write_bytes(first_line() + frame(kept.moment, later))
    assert (await world.after_restart()).picture() == world.picture()


async def test_the_latest_error_of_a_session_outlives_the_engine(tmp_path: Path) -> None:
    world = await saved_world(tmp_path)
    refusal = complaint(3, NotifyType.INVALID_KE_PAYLOAD, data=(20).to_bytes(2))
    assert world.server_sends(("198.51.100.3", 500), IKE, refusal)
    world.saving.close()
    again = await world.after_restart()
    before, after = (last_trouble(one.service.by_spi[3], one.now_s) for one in (world, again))
    assert after is not None
    assert after == before
    assert after.name == "INVALID_KE_PAYLOAD"
