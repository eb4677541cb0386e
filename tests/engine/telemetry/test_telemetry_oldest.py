"""The oldest session of each server is found, and sessions are looked through only when one has to be found."""

from __future__ import annotations

from telemetry_world import Sessions, real_server, service

from engine.sessions.real_server import RealServer
from engine.sessions.session import Phase, Session
from engine.telemetry.oldest import OldestSessions


class World:
    """Two servers, and a look at all sessions in slices of two."""

    def __init__(self) -> None:
        self.a, self.b = real_server("a"), real_server("b")
        self.service = service(self.a, self.b)
        self.sessions = Sessions()
        self.oldest = OldestSessions()
        self.looked_at = 0

    def begin(self, server: RealServer, now_s: float) -> Session:
        return self.sessions.begin(self.service, server, now_s)

    def find(self) -> bool:
        """Whether sessions had to be looked through."""
        everything = list(self.sessions.table.sessions.values())
        if not self.oldest.seek(self.service.servers.values()):
            return False
        for start in range(0, len(everything), 2):
            self.looked_at += 2
            if not self.oldest.feed(everything[start : start + 2]):
                break
        return True


def test_each_server_has_the_age_of_its_own_oldest_session() -> None:
    world = World()
    world.begin(world.a, 10.0)
    world.begin(world.a, 20.0)
    world.begin(world.b, 30.0)
    assert world.oldest.age_s(world.a, 100.0) is None
    assert world.find()
    assert (world.oldest.age_s(world.a, 100.0), world.oldest.age_s(world.b, 100.0)) == (90.0, 70.0)


def test_sessions_are_looked_through_again_only_when_an_oldest_has_ended_and_no_further_than_needed() -> None:
    world = World()
    first, *_ = [world.begin(world.a, float(number)) for number in range(100)]
    world.begin(world.b, 100.0)
    world.find()
    world.looked_at = 0
    assert not world.find()
    world.sessions.table.close(first)
    assert world.oldest.age_s(world.a, 200.0) is None
    assert world.find()
    assert world.oldest.age_s(world.a, 200.0) == 199.0
    assert world.looked_at == 2


def test_a_server_without_sessions_has_no_oldest_and_costs_no_look() -> None:
    world = World()
    only = world.begin(world.a, 0.0)
    world.find()
    assert world.oldest.age_s(world.b, 10.0) is None
    assert not world.find()
    world.sessions.table.close(only)
    assert not world.find()
    assert world.oldest.age_s(world.a, 10.0) is None


def test_a_sleeping_session_is_not_the_oldest_for_its_server_does_not_count_it() -> None:
    world = World()
    world.sessions.table.set_phase(world.begin(world.a, 0.0), Phase.IDLE)
    world.begin(world.a, 5.0)
    world.find()
    assert world.oldest.age_s(world.a, 10.0) == 5.0
