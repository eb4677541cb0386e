"""Alarms say what is wrong, who is hurt and what to do, stay while it is wrong, and are told once."""

from __future__ import annotations

from typing import Any

import pytest
from telemetry_world import Sessions, probed, real_server, service

from engine.config.schema import AdminState, Duration, Health, HealthKind, SchedulerKind, Source
from engine.control.records import Event
from engine.control.status import Alarm
from engine.events import EventLog
from engine.net.upstreams import Upstreams
from engine.sessions import keys
from engine.sessions.invariants import StrangeReply
from engine.sessions.service import Service
from engine.telemetry.alarms import AlarmBoard, Finding
from engine.telemetry.capacity import capacity_findings
from engine.telemetry.conditions import service_findings
from engine.telemetry.rise import QUIET_S, Rise
from engine.telemetry.silence import FORGOTTEN_AFTER_S, Silence

AT = 1_767_614_671.0
DRAIN, DISABLED = AdminState.DRAIN, AdminState.DISABLED


class Watched:
    """One service of which alarms are kept; times count from 0."""

    def __init__(self, service: Service, max_sessions: int = 1000) -> None:
        self.service = service
        self.sessions = Sessions(max_sessions)
        self.now_s = 0.0
        self.buffer_drops = 0
        self.alarms: list[Alarm] = []
        self._events = EventLog()
        self._board = AlarmBoard(self._events)
        self._silence = Silence()

    def later(self, seconds: int = 1) -> dict[str, Alarm]:
        """Look once a second; the alarms that stand then, by kind."""
        for _ in range(seconds):
            self.now_s += 1
            servers, table = self.service.servers.values(), self.sessions.table
            self._silence.look(servers, table.half_open.values(), self.now_s)
            stands = self._board.stands
            found = service_findings(self.service, self._silence, self.buffer_drops, stands, self.now_s)
            self._board.post(found, self.now_s, AT + self.now_s)
        self.alarms = self._board.alarms
        assert len({alarm.kind for alarm in self.alarms}) == len(self.alarms)
        return {alarm.kind: alarm for alarm in self.alarms}

    @property
    def events(self) -> list[Event]:
        return self._events.after(0, 1000)

    @property
    def kinds_told(self) -> list[str]:
        return [event.kind for event in self.events]


def one_server(**settings: Any) -> Watched:
    server = real_server("a", **settings)
    probed(server, ok=True, now_s=0.0)
    return Watched(service(server))


def test_a_service_that_works_has_no_alarm() -> None:
    watched = one_server()
    assert (watched.later(10), watched.events) == ({}, [])


def test_nobody_is_sent_to_servers_that_are_not_there() -> None:
    watched = one_server()
    (only,) = watched.service.servers.values()
    probed(only, ok=False, now_s=20.0, reason="no answer")
    watched.now_s = 60.0
    assert watched.later()["server-down"].text == "vpn/a is down: no answer; no other server takes its clients"


def test_a_server_that_is_down_is_told_with_its_reason_and_for_how_long() -> None:
    watched = one_server()
    watched.service.servers["b"] = down = real_server("b")
    probed(down, ok=True, now_s=0.0)
    probed(down, ok=False, now_s=20.0, reason="no answer to IKE probe, ping answers")
    watched.now_s = 60.0
    alarm = watched.later()["server-down"]
    assert alarm.text == "vpn/b is down: no answer to IKE probe, ping answers; its clients go to other servers"
    assert (alarm.severity, alarm.service, alarm.server, alarm.place) == ("error", "vpn", "b", "server")
    assert alarm.since_at == AT + 20
    assert "UDP 500 from this machine reaches 10.0.0.11" in alarm.remedy
    probed(down, ok=True, now_s=61.0)
    assert watched.later() == {}
    assert watched.events == [], "the health check has told both already"


def test_a_disabled_server_raises_no_alarm_however_ill_it_is() -> None:
    watched = one_server()
    watched.service.servers["b"] = real_server("b", state=DISABLED)
    probed(watched.service.servers["b"], ok=False, now_s=0.0)
    assert watched.later() == {}


@pytest.mark.parametrize(
    ("servers", "why", "remedy"),
    [
        ([], "it has none", "add a [[service.real_server]]"),
        ([{"state": DRAIN}], "a drain", "`ikeconsole enable vpn/a`"),
        ([{"weight": 0}], "a weight 0", "`ikeconsole weight vpn/a 100`"),
        ([{}, {"state": DISABLED}], "a down and b disabled", "`ikeconsole enable vpn/b`"),
        ([{}], "a down", "get one of them to work again"),
    ],
)
def test_a_service_without_a_server_to_give_says_why_and_what_to_do_first(
    servers: list[dict[str, Any]], why: str, remedy: str
) -> None:
    watched = Watched(service(*(real_server(name, **keys) for name, keys in zip("ab", servers, strict=False))))
    for server in watched.service.servers.values():
        probed(server, ok=server.config.state is DRAIN or not server.config.weight, now_s=0.0)
    watched.later()
    alarm = watched.alarms[0]
    assert (alarm.kind, alarm.severity, alarm.place, alarm.service) == ("no-server", "error", "service", "vpn")
    assert alarm.text == f"vpn: no real server takes new sessions ({why}): new clients get no answer"
    assert remedy in alarm.remedy
    assert watched.events == []


def test_a_load_agent_that_keeps_clients_away_is_named() -> None:
    server = real_server("a")
    watched = Watched(service(server, scheduler=SchedulerKind.ADAPTIVE))
    server.agent_load = 101
    assert "load agent of a" in watched.later()["no-server"].remedy


def test_full_servers_are_their_own_alarm_and_it_does_not_flicker_at_the_brim() -> None:
    watched = one_server(max_sessions=100)
    server = watched.service.servers["a"]
    server.established = 100
    assert "raise max_sessions" in watched.later()["servers-full"].remedy
    server.established = 99
    assert list(watched.later()) == ["servers-full"]
    server.established = 98
    assert watched.later() == {}
    server.established = 99
    assert watched.later() == {}
    assert watched.kinds_told == ["servers-full", "servers-full-over"]


def test_three_changes_in_five_minutes_are_flapping_until_five_minutes_pass_without_any() -> None:
    watched = one_server()
    server = watched.service.servers["a"]
    for ok in (False, True):
        probed(server, ok=ok, now_s=watched.now_s)
        watched.later(60)
    assert watched.alarms == []
    probed(server, ok=False, now_s=watched.now_s)
    assert "went up and down 3 times" in watched.later()["server-flapping"].text
    probed(server, ok=True, now_s=watched.now_s)
    assert "server-flapping" in watched.later(298)
    assert watched.later(5) == {}
    assert watched.kinds_told == ["server-flapping", "server-flapping-over"]


def test_a_server_that_answers_nobody_in_transparent_mode_has_the_wrong_gateway() -> None:
    watched = one_server()
    server = watched.service.servers["a"]
    watched.later(10)
    for _ in range(2):
        watched.sessions.begin(watched.service, server, watched.now_s, packets_in=3)
    assert watched.later(4) == {}
    alarm = watched.later(2)["no-replies"]
    assert alarm.text == "vpn/a answers nobody: 2 clients have asked again and again and got no reply"
    assert alarm.remedy == (
        "the default gateway of a is not this balancer: probes are answered, but what it answers to clients' addresses "
        "goes another way; make this balancer its default gateway"
    )
    assert (alarm.severity, alarm.server) == ("error", "a")


def test_a_server_that_answers_nobody_in_snat_mode_has_a_firewall_or_no_daemon() -> None:
    server = real_server("a")
    watched = Watched(service(server, source=Source.SNAT))
    watched.later(10)
    session = watched.sessions.begin(watched.service, server, watched.now_s, packets_in=2)
    keys.use_source(session, "10.0.9.1")
    remedy = watched.later(6)["no-replies"].remedy
    assert "firewall of a lets UDP 500 and 4500 from 10.0.9.1 in" in remedy
    assert "IKE service runs" in remedy


@pytest.mark.parametrize(
    ("source", "probe", "evidence", "cause"),
    [
        (Source.TRANSPARENT, HealthKind.IKE, "", "the default gateway of a is not this balancer"),
        (Source.TRANSPARENT, HealthKind.ICMP, "", "see that the default gateway of a is this balancer, that its firew"),
        (Source.TRANSPARENT, HealthKind.IKE, "strange reply", "it does answer, but from 10.0.0.99"),
        (Source.TRANSPARENT, HealthKind.IKE, "strange reply of b", "the default gateway of a is not this balancer"),
        (Source.SNAT, HealthKind.IKE, "", "it does answer probes, so it refuses the clients"),
        (Source.SNAT, HealthKind.ICMP, "", "see that the firewall of a lets UDP 500 and 4500"),
        (Source.SNAT, HealthKind.IKE, "strange reply", "it does answer, but from 10.0.0.99"),
    ],
)
def test_the_likely_cause_of_silence_follows_from_what_is_answered(
    source: Source, probe: HealthKind, evidence: str, cause: str
) -> None:
    server = real_server("a")
    probed(server, ok=True, now_s=0.0)
    watched = Watched(service(server, source=source, health=Health(type=probe)))
    if evidence.startswith("strange reply"):
        whose = "b" if evidence.endswith("b") else "a"
        watched.service.violations.note(StrangeReply("192.0.2.1", whose, "10.0.0.99"))
    watched.sessions.begin(watched.service, server, 0.0, packets_in=3)
    assert watched.later(10)["no-replies"].remedy.startswith(cause)


def test_timeouts_that_contradict_each_other_are_an_alarm_as_long_as_they_are_in_force() -> None:
    server = real_server("a")
    probed(server, ok=True, now_s=0.0)
    watched = Watched(service(server, persistence_timeout_s=Duration(60)))
    alarm = watched.later()["timeouts-contradict"]
    assert alarm.text.startswith("vpn: persistence_timeout of 1m is shorter than timeouts.nat_t_idle of 5m")
    assert alarm.remedy.startswith("write at least 5m for persistence_timeout")
    watched.service.config = service(server).config
    assert watched.later() == {}


def test_no_replies_is_over_with_the_first_answer_not_when_the_clients_give_up() -> None:
    watched = one_server()
    server = watched.service.servers["a"]
    session = watched.sessions.begin(watched.service, server, 0.0, packets_in=2)
    assert "no-replies" in watched.later(10)
    watched.sessions.table.close(session)
    assert "no-replies" in watched.later(60)
    answered = watched.sessions.begin(watched.service, server, watched.now_s)
    watched.sessions.answer(answered)
    assert watched.later() == {}
    assert watched.kinds_told == ["no-replies", "no-replies-over"]


def test_no_replies_is_forgotten_when_nobody_asks_any_more() -> None:
    watched = one_server()
    session = watched.sessions.begin(watched.service, watched.service.servers["a"], 0.0, packets_in=2)
    watched.later(10)
    watched.sessions.table.close(session)
    assert "no-replies" in watched.later(int(FORGOTTEN_AFTER_S) - 10)
    assert watched.later(20) == {}


@pytest.mark.parametrize("case", ["another is answered", "gave up before", "asked once", "ESP alone", "young"])
def test_silence_that_proves_nothing_raises_no_alarm(case: str) -> None:
    watched = one_server()
    server, sessions = watched.service.servers["a"], watched.sessions
    watched.later(10)
    session = sessions.begin(watched.service, server, watched.now_s, packets_in=1 if case == "asked once" else 5)
    if case == "ESP alone":
        session.spis = ()
    if case == "gave up before":
        watched.now_s += 2
        sessions.answer(sessions.begin(watched.service, server, watched.now_s))
    for _ in range(4 if case == "young" else 20):
        if case == "another is answered":
            sessions.answer(sessions.begin(watched.service, server, watched.now_s))
        assert watched.later() == {}


def test_a_server_that_is_down_is_not_told_twice() -> None:
    watched = one_server()
    server = watched.service.servers["a"]
    watched.sessions.begin(watched.service, server, 0.0, packets_in=5)
    assert list(watched.later(10)) == ["no-replies"]
    probed(server, ok=False, now_s=watched.now_s)
    assert sorted(watched.later()) == ["no-server", "server-down"]


def test_many_sessions_on_one_source_address_are_crowded_until_there_are_clearly_fewer() -> None:
    watched = one_server()
    use = watched.service.servers["a"].source_use
    use.update({"10.0.9.1": 29, "10.0.9.2": 3})
    assert watched.later() == {}
    use["10.0.9.1"] = 30
    alarm = watched.later()["snat-crowded"]
    assert "30 sessions come from the one address 10.0.9.1" in alarm.text
    for part in ("snat_addresses", "transparent", "IkeNumEstablishedForInitialQuery", "block_threshold"):
        assert part in alarm.remedy
    use["10.0.9.1"] = 25
    assert "25 sessions" in watched.later()["snat-crowded"].text
    use["10.0.9.1"] = 24
    assert watched.later() == {}


def test_lost_datagrams_are_told_when_there_are_many_and_until_none_are_lost_any_more() -> None:
    watched = one_server()
    watched.buffer_drops = 99
    assert watched.later() == {}
    watched.buffer_drops = 100
    assert "100 datagrams of clients were lost" in watched.later()["receive-buffer-full"].text
    watched.buffer_drops = 0
    assert watched.later() == {}


def test_a_counter_of_trouble_is_quiet_after_a_minute_and_survives_a_restart() -> None:
    rise = Rise(1000)
    rise.look(1050, 10.0)
    rise.look(1060, 50.0)
    rise.look(1060, 50.0 + QUIET_S - 1)
    assert rise.gained == 60
    rise.look(1060, 50.0 + QUIET_S)
    assert rise.gained == 0
    rise.look(3, 200.0)
    assert rise.gained == 0
    rise.look(5, 201.0)
    assert rise.gained == 2


def test_a_table_near_its_end_is_told_until_it_is_clearly_emptier() -> None:
    sessions, upstreams = Sessions(max_sessions=20), Upstreams(max_open=100)
    upstreams.poll.close()
    server = real_server("a")
    vpn = service(server)
    begun = [sessions.begin(vpn, server, 0.0) for _ in range(15)]
    board = AlarmBoard(EventLog())

    def look() -> list[Alarm]:
        board.post(capacity_findings(sessions.table, upstreams, board.stands), 0.0, AT)
        return board.alarms

    assert look() == []
    begun.append(sessions.begin(vpn, server, 0.0))
    (alarm,) = look()
    assert alarm.text.startswith("the session table is 80% full: 16 of 20, 16 of them half-open")
    assert "flood" in alarm.remedy
    sessions.table.close(begun.pop())
    assert look() != []
    sessions.table.close(begun.pop())
    assert look() == []


def test_sockets_near_their_limit_are_told_with_what_to_raise() -> None:
    sessions, upstreams = Sessions(), Upstreams(max_open=10)
    upstreams.poll.close()
    server = real_server("a")
    flow = sessions.begin(service(server), server, 0.0).flows[0]
    upstreams.flows.update((number, flow) for number in range(9))
    (found,) = capacity_findings(sessions.table, upstreams, lambda *_: False)
    assert found.kind == "sockets-near-limit"
    assert "LimitNOFILE" in found.remedy


def test_the_gravest_alarm_comes_first() -> None:
    board = AlarmBoard(EventLog())
    kinds = ("config-changed", "server-flapping", "server-down", "table-near-full", "no-server")
    board.post([Finding(kind, "text", "remedy") for kind in kinds], 0.0, AT)
    assert [alarm.kind for alarm in board.alarms] == [
        "no-server",
        "server-down",
        "table-near-full",
        "server-flapping",
        "config-changed",
    ]


def test_an_alarm_keeps_its_time_while_its_words_change_and_gets_a_new_one_when_it_returns() -> None:
    events = EventLog()
    board = AlarmBoard(events)
    for now_s, text in ((0.0, "80%"), (10.0, "85%"), (20.0, ""), (30.0, "90%")):
        board.post([Finding("table-near-full", text, "remedy")] if text else [], now_s, AT + now_s)
        if text:
            assert [alarm.text for alarm in board.alarms] == [text]
            assert board.alarms[0].since_at == (AT + 30 if text == "90%" else AT)
    assert [(event.severity, event.kind, event.text) for event in events.after(0, 10)] == [
        ("warning", "table-near-full", "80%; remedy"),
        ("notice", "table-near-full-over", "over after 20 s: 85%"),
        ("warning", "table-near-full", "90%; remedy"),
    ]


def test_a_server_without_an_ike_probe_is_looked_at_where_its_own_probe_looks() -> None:
    server = real_server("a")
    watched = Watched(service(server, health=Health(type=HealthKind.TCP, port=443)))
    probed(server, ok=False, now_s=0.0)
    assert "TCP 443 of 10.0.0.11" in watched.later()["server-down"].remedy


def test_a_clock_that_is_set_right_takes_an_alarms_beginning_along() -> None:
    events, year_s = EventLog(), 365 * 86_400.0
    board = AlarmBoard(events)
    finding = Finding("servers-full", "full", "add one", "vpn")
    board.post([finding], 10.0, 100.0)
    board.post([finding], 70.0, 160.0)
    assert [alarm.since_at for alarm in board.alarms] == [100.0]
    board.post([finding], 71.0, 161.0 + year_s)
    assert [alarm.since_at for alarm in board.alarms] == [100.0 + year_s]
    board.post([], 130.0, 0.0)
    assert events.after(0, 10)[-1].text == "over after 2 m: full"
