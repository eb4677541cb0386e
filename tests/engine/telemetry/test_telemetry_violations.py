"""Violated invariants are told as events with their clients, and as alarms with a remedy while they go on."""

from __future__ import annotations

from typing import Any

import pytest
from telemetry_world import real_server, service

from engine.config.schema import Duration, Timeouts
from engine.control.status import Alarm
from engine.events import EventLog
from engine.sessions.invariants import (
    NO_REPLIES,
    EspFirst,
    FragmentedAuth,
    IdleTooShort,
    PortsSplit,
    SpiSplit,
    StrangeReply,
    Violation,
)
from engine.sessions.service import Service
from engine.telemetry.alarms import KINDS, AlarmBoard
from engine.telemetry.rise import QUIET_S
from engine.telemetry.violations import (
    EVENT_EVERY_S,
    GUESSES_WORTH_TELLING,
    RESTARTED_S,
    SET_UP_QUIET_S,
    ViolationWatch,
)

HOST = "192.0.2.7"
SPLIT = PortsSplit(HOST, "a", "b")
BIG = FragmentedAuth(HOST, "a", 3036, True, client_offers=True, server_agrees=False)


class Watched:
    """One service whose violations are looked at once a second."""

    def __init__(self, **settings: Any) -> None:
        self.service: Service = service(real_server("a"), real_server("b"), **settings)
        self.now_s = 0.0
        self._events = EventLog()
        self._board = AlarmBoard(self._events)
        self._watch = ViolationWatch(self._events, 0.0)

    def later(self, seconds: float = 1) -> dict[str, Alarm]:
        for _ in range(int(seconds)):
            self.now_s += 1
            self._watch.look([self.service], self.now_s)
            self._board.post(self._watch.findings(self._board.stands, self.now_s), self.now_s, 1e9 + self.now_s)
        return {alarm.kind: alarm for alarm in self._board.alarms}

    def note(self, *violations: Violation) -> None:
        for violation in violations:
            self.service.violations.note(violation)

    def alarm(self, violation: Violation) -> Alarm:
        self.note(violation)
        return self.later()[violation.kind]

    def told(self, client: str) -> list[tuple[str, str]]:
        """Kinds and texts of a client's events."""
        return [(event.kind, event.text) for event in self._events.after(0, 1000) if event.client == client]

    @property
    def kinds(self) -> list[str]:
        """Of the events that have no client: those of alarms."""
        return [event.kind for event in self._events.after(0, 1000) if not event.client]


def test_an_alarm_stands_while_cases_come_and_is_over_after_a_quiet_minute() -> None:
    watched = Watched(port_following=False)
    assert watched.later(5) == {}
    assert (
        watched.alarm(SPLIT).text == "vpn: 192.0.2.7 reaches a on port 500, but b on 4500: such tunnels do not come up"
    )
    watched.later(30)
    assert "4500, 2 times lately: such tunnel" in watched.alarm(SPLIT).text
    assert "ports-split" in watched.later(QUIET_S - 1)
    assert watched.later(2) == {}
    assert watched.service.violations.latest == {}, "it explains nothing any more"
    assert watched.kinds == ["ports-split", "ports-split-over"]


def test_a_burst_of_cases_is_one_event_now_and_one_for_the_rest_later() -> None:
    watched = Watched()
    watched.note(SPLIT)
    watched.later()
    for _ in range(7):
        watched.note(SPLIT)
        watched.later()
    case = "192.0.2.7 reaches a on port 500, but b on 4500"
    assert watched.told(HOST) == [("ports-split", case)]
    watched.later(EVENT_EVERY_S)
    assert watched.told(HOST)[1:] == [("ports-split", f"{case}; 6 more cases since the last such event")]
    watched.later(100)
    assert len(watched.told(HOST)) == 2


def test_what_is_only_seen_at_set_up_is_over_later() -> None:
    watched = Watched()
    watched.alarm(BIG)
    assert "auth-fragmented" in watched.later(SET_UP_QUIET_S - 1)
    assert watched.later(2) == {}


def test_few_guesses_are_told_as_events_and_many_as_an_alarm_until_they_end() -> None:
    watched = Watched()
    watched.note(*[EspFirst(HOST, "a")] * (GUESSES_WORTH_TELLING - 1))
    assert watched.later() == {}
    assert len(watched.told(HOST)) == 1
    assert watched.alarm(EspFirst(HOST, "a")).severity == "warning"
    watched.later(QUIET_S + 1)
    watched.note(EspFirst(HOST, "a"))
    assert watched.later() == {}


def test_tunnels_that_are_unknown_because_the_engine_is_young_ask_for_nothing() -> None:
    watched = Watched()
    watched.note(*[EspFirst(HOST, "a")] * GUESSES_WORTH_TELLING)
    assert watched.later()["esp-before-ike"].remedy.startswith("nothing to do: the engine started 1 s ago")
    watched.now_s = RESTARTED_S
    assert "UDP 500 and 4500 of a client both come this way" in watched.alarm(EspFirst(HOST, "a")).remedy


@pytest.mark.parametrize(
    ("following", "remedy"), [(False, "set port_following = true in vpn"), (True, "`ikeconsole clear 192.0.2.7`")]
)
@pytest.mark.parametrize("split", [SPLIT, SpiSplit(HOST, 0x4F2A, "a", "b")])
def test_a_split_has_another_cause_when_ports_are_followed(split: Violation, following: bool, remedy: str) -> None:
    assert Watched(port_following=following).alarm(split).remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("offers", "agrees", "remedy"),
    [
        (False, False, "at the client, which does not offer it"),
        (True, False, "at a, which does not agree to it"),
        (True, True, "lower fragment_size at client and a"),
        (None, False, "at the client and at a"),
    ],
)
def test_who_has_to_enable_ike_fragmentation_is_named(offers: bool | None, agrees: bool, remedy: str) -> None:
    alarm = Watched().alarm(FragmentedAuth(HOST, "a", 3036, False, client_offers=offers, server_agrees=agrees))
    assert alarm.text.startswith("vpn: IKE_AUTH from a to 192.0.2.7 has 3 036 bytes and travels in IP fragments")
    assert remedy in alarm.remedy


@pytest.mark.parametrize(
    ("source", "text", "remedy"),
    [
        ("10.0.0.99", "answered by 10.0.0.99", "have a answer from 10.0.0.11"),
        ("10.0.0.11", "answered by another port of a", "nothing between a and this balancer may translate ports"),
    ],
)
def test_a_strange_reply_tells_another_address_from_another_port(source: str, text: str, remedy: str) -> None:
    alarm = Watched().alarm(StrangeReply(HOST, "a", source))
    assert text in alarm.text
    assert remedy in alarm.remedy


def test_a_timeout_that_is_too_short_is_named_with_one_that_would_do() -> None:
    alarm = Watched(timeouts=Timeouts(nat_t_idle_s=Duration(300))).alarm(IdleTooShort(HOST, "a", 330.0))
    assert "192.0.2.7 was only silent for 5m30s, but its flow was forgotten after 5m" in alarm.text
    assert alarm.remedy.startswith("set timeouts.nat_t_idle of vpn to 11m,")


@pytest.mark.parametrize(
    "violation",
    [
        SPLIT,
        SpiSplit(HOST, 0x4F2A, "a", "b"),
        EspFirst(HOST, "a"),
        BIG,
        IdleTooShort(HOST, "a", 320.0),
        StrangeReply(HOST, "a", "10.0.0.99"),
    ],
)
def test_every_kind_says_who_is_hurt_and_what_to_do(violation: Violation) -> None:
    watched = Watched()
    watched.note(*[violation] * GUESSES_WORTH_TELLING)
    (alarm,) = watched.later().values()
    assert alarm.kind == violation.kind in KINDS
    assert alarm.service == "vpn"
    assert HOST in alarm.text
    assert "tunnel" in alarm.text or "clients" in alarm.text or "lost" in alarm.text
    assert alarm.remedy


def test_a_service_that_is_gone_has_no_alarms() -> None:
    watched = Watched()
    watched.alarm(SPLIT)
    watched.service = service(real_server("a"))
    assert watched.later() == {}


def test_clients_without_any_reply_are_left_to_the_alarm_of_their_server() -> None:
    watched = Watched()
    watched.service.violations.counts[NO_REPLIES] += 10
    assert watched.later() == {}
    assert watched.told(HOST) == []
