"""When silence ends flows, sessions and persistence: the times of the design, to the second."""

from __future__ import annotations

from sys import getsizeof

from engine.config.schema import PersistenceKind, Timeouts
from engine.sessions.expiry import NEVER, ExpiryQueue
from engine.sessions.flow import SocketAddress
from engine.sessions.session import Phase
from tests.engine.sessions.session_world import (
    IKE,
    KEEPALIVE,
    NAT_T,
    World,
    audit,
    esp,
    informational,
    init,
    init_answer,
    phase_of,
    seconds,
)

ALICE = "198.51.100.1"
ON_500: SocketAddress = (ALICE, 500)
ON_4500: SocketAddress = (ALICE, 4500)


class Thing:
    """Something that ends."""

    def __init__(self) -> None:
        self.looked_at_s = NEVER


def test_queue_looks_when_due_and_again_when_told() -> None:
    """A check is made no earlier than its time, again at the time it names, and no more after None."""
    answers = [20.0, None]
    looks: list[float] = []

    def check(_: Thing, now_s: float) -> float | None:
        looks.append(now_s)
        return answers.pop(0)

    queue = ExpiryQueue(check)
    queue.push(10.0, Thing())
    for now_s in (9.9, 10.0, 19.9, 20.0, 99.0):
        queue.run(now_s, 10)
    assert looks == [10.0, 20.0]
    assert len(queue) == 0


def test_queue_holds_a_thing_once_at_its_earliest_time() -> None:
    """Asking for a sooner look brings it forward, asking for a later one changes nothing."""
    looks: list[float] = []
    queue = ExpiryQueue[Thing](lambda _, now_s: looks.append(now_s))
    thing = Thing()
    for due_s in (50.0, 10.0, 90.0):
        queue.push(due_s, thing)
        assert len(queue) == 1
    queue.run(100.0, 10)
    assert looks == [100.0]
    assert len(queue) == 0


def test_queue_works_in_portions_and_says_whether_more_waits() -> None:
    """However much is due at once, one turn looks at no more than its limit."""
    looks: list[Thing] = []
    queue = ExpiryQueue[Thing](lambda thing, _: looks.append(thing))
    things = [Thing() for _ in range(10)]
    for thing in things:
        queue.push(1.0, thing)
    assert queue.run(5.0, 4)
    assert len(looks) == 4
    while queue.run(5.0, 4):
        pass
    assert set(looks) == set(things)
    assert len(looks) == 10


def test_discarded_things_leave_nothing_behind() -> None:
    """A thing that ended early is never looked at, and its second gives back the memory it had for thousands."""
    looks: list[Thing] = []
    queue = ExpiryQueue[Thing](lambda thing, _: looks.append(thing))
    kept, *gone = [Thing() for _ in range(5000)]
    for thing in [kept, *gone]:
        queue.push(3600.0, thing)
    full_bytes = sum(getsizeof(second.things) for second in queue._seconds.values())
    for thing in gone:
        queue.discard(thing)
    queue.discard(gone[0])
    assert len(queue) == 1
    assert sum(getsizeof(second.things) for second in queue._seconds.values()) < full_bytes / 20
    while queue.run(3600.0, 10):
        pass
    assert looks == [kept]


def test_half_open_session_ends_after_30_s_of_silence() -> None:
    """A client that goes on trying is waited for; one that stopped is not."""
    world = World()
    world.client_sends(ON_500, IKE, init(1))
    world.later(20)
    world.client_sends(ON_500, IKE, init(1))
    world.later(29)
    assert len(world.sessions()) == 1
    world.later(1)
    assert world.sessions() == []
    assert world.flow(ON_500, IKE) is None
    audit(world)


def test_flow_on_500_ends_after_180_s() -> None:
    """The flow on 500 goes, the session stays on its flow on 4500."""
    world = World()
    session = world.connect(ALICE, 1)
    world.later(100)
    world.client_sends(ON_4500, NAT_T, esp())
    world.later(79)
    assert world.flow(ON_500, IKE) is not None
    world.later(1)
    assert world.flow(ON_500, IKE) is None
    assert phase_of(session) is Phase.ESTABLISHED
    audit(world)


def test_flow_on_4500_ends_after_300_s_and_its_session_sleeps() -> None:
    """A keepalive or a packet of either side renews the 300 s; then the session is idle, known by its SPI only."""
    world = World()
    session = world.connect(ALICE, 1)
    world.later(299)
    world.client_sends(ON_4500, NAT_T, KEEPALIVE)
    world.later(299)
    world.server_sends(ON_4500, NAT_T, esp())
    world.later(299)
    assert phase_of(session) is Phase.ESTABLISHED
    world.later(1)
    assert phase_of(session) is Phase.IDLE
    assert session.flows == ()
    assert session.server.established == 0
    audit(world)


def test_idle_session_is_known_by_its_spi_for_60_min_and_wakes_up() -> None:
    """The binding ends 60 minutes after the last packet; a message within that time brings the session back."""
    world = World(persistence=PersistenceKind.NONE)
    session = world.connect(ALICE, 1)
    world.later(3599)
    assert phase_of(session) is Phase.IDLE
    roamed = ("203.0.113.9", 4500)
    assert world.client_sends(roamed, NAT_T, informational(1)) == session.server.name
    assert phase_of(session) is Phase.IDLE, "anybody can send such a packet"
    world.server_sends(roamed, NAT_T, informational(1, from_server=True, response=True))
    assert phase_of(session) is Phase.MOVED
    assert session.server.established == 1
    world.later(300)
    assert phase_of(session) is Phase.IDLE
    world.later(3299)
    assert world.sessions() == [session]
    world.later(1)
    assert world.sessions() == []
    audit(world)


def test_tunnel_with_traffic_never_ends() -> None:
    """A day of keepalives alone, without one IKE message, changes nothing."""
    world = World()
    session = world.connect(ALICE, 1)
    for _ in range(24 * 15):
        world.later(240)
        world.client_sends(ON_4500, NAT_T, KEEPALIVE)
    assert world.sessions() == [session]
    assert phase_of(session) is Phase.ESTABLISHED
    assert world.table.deadlines == 2


def test_overtaken_session_ends_60_min_after_its_own_last_packet() -> None:
    """A tunnel whose flow another one took over is not kept alive by that one's traffic for ever."""
    world = World()
    old = world.connect(ALICE, 1)
    world.later(100)
    world.client_sends(ON_4500, NAT_T, esp())
    world.client_sends(ON_4500, NAT_T, bytes(4) + init(2))
    world.server_sends(ON_4500, NAT_T, bytes(4) + init_answer(2))
    new = world.service.by_spi[2]
    world.server_sends(ON_4500, NAT_T, informational(2, from_server=True))
    for _ in range(35):
        world.later(100)
        world.client_sends(ON_4500, NAT_T, KEEPALIVE)
    assert world.sessions() == [old, new]
    world.later(100)
    assert world.sessions() == [new]


def test_guess_without_answer_ends() -> None:
    """ESP of an unknown client that no server answers is half-open like anything else, and leaves the 4500 flow."""
    world = World()
    world.client_sends(ON_4500, NAT_T, esp())
    world.later(30)
    assert world.sessions() == []


def test_persistence_ends_30_min_after_the_last_flow_was_used() -> None:
    """Half an hour after the last packet the client is a stranger; the record is gone, not only ignored."""
    world = World()
    world.connect(ALICE, 1)
    world.later(1799)
    assert len(world.service.persistence) == 1
    world.later(1)
    assert len(world.service.persistence) == 0


def test_persistence_lives_as_long_as_its_flows() -> None:
    """A tunnel that lasts longer than the timeout keeps its client's record, also when the timeout is short."""
    world = World(persistence_timeout_s=seconds(60))
    world.connect(ALICE, 1)
    for _ in range(30):
        world.later(250)
        world.client_sends(ON_4500, NAT_T, KEEPALIVE)
    assert len(world.service.persistence) == 1


def test_configured_timeouts_count() -> None:
    """The operator's own times are used in place of the defaults."""
    timeouts = Timeouts(
        half_open_s=seconds(5), ike_idle_s=seconds(10), nat_t_idle_s=seconds(20), spi_binding_s=seconds(40)
    )
    world = World(timeouts=timeouts)
    session = world.connect(ALICE, 1)
    world.client_sends(("203.0.113.1", 500), IKE, init(2))
    world.later(5)
    assert world.sessions() == [session]
    world.later(5)
    assert world.flow(ON_500, IKE) is None
    world.later(10)
    assert phase_of(session) is Phase.IDLE
    world.later(20)
    assert world.sessions() == []


def test_flow_may_outlast_the_spi_binding() -> None:
    """Where the operator lets flows idle for longer than SPIs are remembered, the flow's time is what counts."""
    world = World(timeouts=Timeouts(nat_t_idle_s=seconds(7200), spi_binding_s=seconds(60)))
    session = world.connect(ALICE, 1)
    world.later(3600)
    assert phase_of(session) is Phase.ESTABLISHED
    world.later(7200)
    assert world.sessions() == []
    audit(world)


def test_long_sleep_of_the_machine_ends_everything_at_once() -> None:
    """However far the clock jumps, one round of expiry leaves nothing that should have gone."""
    world = World()
    for host in range(1, 20):
        world.connect(f"198.51.100.{host}", host)
    world.later(10_000)
    assert world.sessions() == []
    assert len(world.service.persistence) == 0
    assert world.table.deadlines == 0
    audit(world)
