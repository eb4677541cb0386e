"""What the doctor concludes of real servers' answers, and of the way that these take."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from doctor_facts import SERVERS, network, only, service, status
from netaddr import IPAddress

from engine.advise.routes import Route
from engine.config.schema import AdminState, Config, Health, RealServer, Source
from engine.control.status import ServerStatus, ServiceStatus, Traffic
from engine.doctor.commands import CommandError, Denied, ask
from engine.doctor.detour import ruleset
from engine.doctor.plumbing import judge_plumbing
from engine.doctor.probes import Answers, judge_probes, probe_all
from engine.doctor.return_path import Tried, judge_return_path, try_return_path
from engine.doctor.running import Engine
from engine.health.result import ProbeResult

TRANSPARENT = Config(services=[service("vpn", states={"s2": AdminState.DISABLED})])
ALIVE = ProbeResult(ok=True, reason="answers IKE: NO_PROPOSAL_CHOSEN", rtt_s=0.0012)
BUSY = ProbeResult(ok=True, reason="answers IKE, demands cookies", rtt_s=0.001, busy=True)
SILENT = ProbeResult(ok=False, reason="no answer in 2s", rtt_s=None)
CAME_BACK = Tried(came_back=True, reason="answers IKE: NO_PROPOSAL_CHOSEN")


@pytest.mark.parametrize(
    ("answers", "state", "words"),
    [
        (Answers(ALIVE, ALIVE), "ok", "10.0.0.11: answers IKE: NO_PROPOSAL_CHOSEN in 1.2 ms; port 4500 too"),
        (Answers(SILENT, SILENT), "fail", "10.0.0.11 port 500: no answer in 2s"),
        (Answers(ALIVE, SILENT), "warn", "but on port 4500: no answer in 2s"),
        (Answers(BUSY, BUSY), "warn", "demands cookies"),
    ],
)
def test_what_a_probe_found(answers: Answers, state: str, words: str) -> None:
    said = only(judge_probes(TRANSPARENT, {"vpn/s1": answers}), subject="vpn/s1")
    assert said.state == state
    assert words in said.text


@pytest.mark.trio
async def test_real_servers_are_asked_together() -> None:
    local = service("vpn", address=IPAddress("127.0.0.1"), source=Source.SNAT, health=Health())
    local.real_servers[:] = [
        RealServer(name=f"s{number}", address=IPAddress(f"127.0.0.{number}"), ike_port=9, nat_t_port=19)
        for number in range(11, 61)
    ]
    answers = await probe_all(Config(services=[local]))
    assert len(answers) == 50
    assert {one.ike.reason for one in answers.values()} == {"connection refused: nothing listens on UDP 9"}


def judged(tried: Mapping[str, Tried], route: Route | None = None) -> list[tuple[str, str, str]]:
    found = network(to_servers={SERVERS["s1"]: route} if route else {})
    return [(one.state, one.text, one.command) for one in judge_return_path(TRANSPARENT, tried, found)]


def test_an_answer_that_came_back() -> None:
    ((state, text, _),) = judged({"vpn/s1": CAME_BACK}, Route("10.0.0.1", "", "lan"))
    assert state == "ok"
    assert text.startswith("it answered the client 198.51.100.1 through this machine")


def test_an_answer_that_went_elsewhere_names_the_default_gateway_to_set() -> None:
    ((state, text, command),) = judged({"vpn/s1": Tried(False, "no answer in 2s")}, Route("10.0.0.1", "", "lan"))
    assert state == "fail"
    assert "its answer to the client 198.51.100.1 did not come back here (no answer in 2s)" in text
    assert command == "ip route replace default via 10.0.0.1"


def test_behind_a_router_it_is_the_router_that_must_send_answers_here() -> None:
    found = network(to_servers={SERVERS["s1"]: Route("10.0.0.1", "10.0.0.254", "lan")})
    said = only(judge_return_path(TRANSPARENT, {"vpn/s1": Tried(False, "no answer in 2s")}, found))
    assert said.remedy.startswith("have the router 10.0.0.254 send to 10.0.0.1")
    assert said.command == ""


def test_what_could_not_be_tried_says_why() -> None:
    ((state, text, _),) = judged({"vpn/s1": Tried(False, "needs root", untried=True)})
    assert state == "warn"
    assert text == "not checked: needs root: whether the answers of s1 to clients come back"


@pytest.mark.trio
async def test_nobody_is_asked_who_answers_no_probe_or_is_on_this_machine() -> None:
    silent = {"vpn/s1": Answers(SILENT, SILENT)}
    assert await try_return_path(TRANSPARENT, silent, network(), ()) == {
        "vpn/s1": Tried(False, "it answers no probe at all", untried=True)
    }
    own = network(client={4: "203.0.113.10"})
    (tried,) = (await try_return_path(TRANSPARENT, {"vpn/s1": Answers(ALIVE, ALIVE)}, own, ())).values()
    assert tried == Tried(False, "203.0.113.10 is no client's, but this machine's", untried=True)
    here = network(to_servers={SERVERS["s1"]: Route("127.0.0.1", "", "lo")})
    assert await try_return_path(TRANSPARENT, {"vpn/s1": Answers(ALIVE, ALIVE)}, here, ()) == {
        "vpn/s1": Tried(False, "it is on this machine", untried=True)
    }


@pytest.mark.trio
async def test_snat_services_need_no_return_path() -> None:
    snat = Config(services=[service("vpn", source=Source.SNAT)])
    alive = dict.fromkeys(("vpn/s1", "vpn/s2"), Answers(ALIVE, ALIVE))
    assert await try_return_path(snat, alive, network(), ()) == {}


def test_rules_that_somebody_took_away() -> None:
    lost, there = judge_plumbing({4: "the nftables table inet ikeconsole", 6: ""})
    assert (lost.state, lost.command) == ("fail", "ikeconsole status")
    assert there.state == "ok"


def test_only_real_servers_of_the_engine_s_transparent_services_are_covered_by_its_rules() -> None:
    def of(source: str, address: str) -> ServiceStatus:
        server = ServerStatus(
            service="x",
            name="s",
            address=address,
            weight=1,
            admin_state="enabled",
            health="up",
            health_reason="",
            health_since_at=0,
            busy=False,
            rtt_s=None,
            last_probe_s=None,
            agent_load=None,
            sessions=0,
            half_open=0,
            max_sessions=0,
            share=0,
            weighted_share=0,
            new_sessions=0,
            traffic=Traffic(),
            source_use=[],
        )
        return ServiceStatus(
            name="x",
            address="203.0.113.10",
            ike_port=500,
            nat_t_port=4500,
            source=source,
            scheduler="",
            persistence="",
            persistence_timeout_s=0,
            port_following=True,
            state="up",
            sessions=0,
            half_open=0,
            persistence_records=0,
            new_sessions=0,
            traffic=Traffic(),
            drops={},
            servers=[server],
        )

    engine = Engine(status(services=[of("transparent", "10.0.0.11"), of("snat", "10.0.0.12")]))
    assert engine.covered == {"10.0.0.11"}
    assert Engine().covered == frozenset()


def test_the_detour_is_for_one_client_of_these_real_servers_alone() -> None:
    text = ruleset([("10.0.0.12", 500), ("10.0.0.11", 500)], "198.51.100.1")
    assert "ip daddr 198.51.100.1 ip saddr . udp sport { 10.0.0.11 . 500, 10.0.0.12 . 500 } tproxy ip" in text
    assert "tproxy ip6 to [::1]:1" in ruleset([("fd00::11", 500)], "2001:db8::1")


@pytest.mark.trio
async def test_programs_that_are_missing_refuse_or_fail_say_so() -> None:
    with pytest.raises(CommandError, match=r"cannot be run .*install the package no-such-program"):
        await ask("no-such-program")
    with pytest.raises(CommandError, match="`sh -c exit 3` failed: no word why"):
        await ask("sh", "-c", "exit 3")
    with pytest.raises(Denied):
        await ask("sh", "-c", "echo Operation not permitted >&2; exit 1")
    assert await ask("cat", stdin="heard") == "heard"


@pytest.mark.trio
async def test_a_program_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.doctor.commands.PATIENCE_S", 0.05)
    with pytest.raises(CommandError, match="did not end within"):
        await ask("sleep", "60")
