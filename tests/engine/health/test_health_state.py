"""What a run of probe results makes of a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.health.result import ProbeResult
from engine.health.state import FLAP_WINDOW_S, MAX_FLAPS_COUNTED, ServerHealth, Transition

OK = ProbeResult(ok=True, reason="answers", rtt_s=0.010)
FAILED = ProbeResult(ok=False, reason="no answer in 2s", rtt_s=None)


def observe_all(server: ServerHealth, results: list[ProbeResult], start_s: float = 0.0) -> list[Transition]:
    found = (server.observe(result, start_s + 5.0 * number) for number, result in enumerate(results))
    return [transition for transition in found if transition is not None]


def model(fall: int, rise: int, outcomes: list[bool]) -> str:
    """The last run of equal outcomes that was long enough, else the first outcome, decides."""
    health = "unknown"
    for end in range(1, len(outcomes) + 1):
        seen = outcomes[:end]
        if health == "unknown":
            health = "up" if seen[-1] else "down"
        elif len(seen) > fall - 1 and not any(seen[-fall:]):
            health = "down"
        elif len(seen) > rise - 1 and all(seen[-rise:]):
            health = "up"
    return health


@given(fall=st.integers(1, 5), rise=st.integers(1, 5), outcomes=st.lists(st.booleans(), max_size=40))
def test_health_follows_the_last_long_enough_run(fall: int, rise: int, outcomes: list[bool]) -> None:
    """A server goes down after `fall` failures in a row and up after `rise` successes in a row, never else."""
    server = ServerHealth(fall, rise, now_s=0.0)
    transitions = observe_all(server, [OK if outcome else FAILED for outcome in outcomes])
    assert server.health == model(fall, rise, outcomes)
    assert server.probes == len(outcomes)
    assert server.failures == outcomes.count(False)
    chain = ["unknown", *[transition.new for transition in transitions]]
    assert [transition.old for transition in transitions] == chain[:-1]
    assert chain[-1] == server.health


@pytest.mark.parametrize(("result", "expected"), [(OK, "up"), (FAILED, "down")])
def test_first_verdict_falls_at_once(result: ProbeResult, expected: str) -> None:
    """One probe settles an unknown server, so that a dead one gets no clients at engine start."""
    server = ServerHealth(fall=3, rise=2, now_s=100.0)
    transition = server.observe(result, 100.5)
    assert transition == Transition("unknown", expected, result.reason, after_s=0.5)
    assert (server.since_s, server.last_probe_s) == (100.5, 100.5)


def test_reason_counts_towards_the_change() -> None:
    """Before a server goes down its operator reads how far it is, and afterwards why it went."""
    server = ServerHealth(fall=3, rise=2, now_s=0.0)
    observe_all(server, [OK, FAILED, FAILED])
    assert server.reason == "no answer in 2s (2 of 3)"
    transition = server.observe(FAILED, 15.0)
    assert transition == Transition("up", "down", "no answer in 2s", after_s=15.0)
    assert server.reason == "no answer in 2s"
    server.observe(OK, 20.0)
    assert server.reason == "answers (1 of 2)"


def test_busy_server_is_up() -> None:
    """Demanding cookies is a state of a living server: shown while it lasts, gone with the server."""
    busy = ProbeResult(ok=True, reason="demands cookies", rtt_s=0.01, busy=True)
    server = ServerHealth(fall=2, rise=1, now_s=0.0)
    server.observe(busy, 0.0)
    assert (server.health, server.busy) == ("up", True)
    server.observe(FAILED, 5.0)
    assert (server.health, server.busy) == ("up", True)
    server.observe(FAILED, 10.0)
    assert (server.health, server.busy) == ("down", False)
    server.observe(OK, 15.0)
    assert (server.health, server.busy) == ("up", False)


def test_slow_start_only_after_a_real_return() -> None:
    """Servers found up at engine start take their full share; one that came back is eased in."""
    server = ServerHealth(fall=1, rise=1, now_s=0.0)
    server.observe(OK, 1.0)
    assert server.up_since_s is None
    server.observe(FAILED, 6.0)
    assert server.up_since_s is None
    server.observe(OK, 11.0)
    server.observe(OK, 16.0)
    assert server.up_since_s == 11.0


def test_response_time_is_smoothed() -> None:
    """One slow answer moves the response time by an eighth of the difference; failures do not move it."""
    server = ServerHealth(fall=3, rise=2, now_s=0.0)
    server.observe(OK, 0.0)
    assert server.rtt_s == 0.010
    server.observe(ProbeResult(ok=True, reason="answers", rtt_s=0.090), 5.0)
    assert server.rtt_s == pytest.approx(0.020)
    server.observe(FAILED, 10.0)
    server.observe(ProbeResult(ok=True, reason="not probed", rtt_s=None), 15.0)
    assert server.rtt_s == pytest.approx(0.020)


def test_flaps_are_counted_for_five_minutes() -> None:
    """Changes between up and down count while they are recent; the first verdict is no change."""
    server = ServerHealth(fall=1, rise=1, now_s=0.0)
    observe_all(server, [OK, FAILED, OK, FAILED])
    assert server.flaps(15.0) == 3
    assert server.flaps(5.0 + FLAP_WINDOW_S) == 2
    assert server.flaps(15.0 + FLAP_WINDOW_S) == 0


def test_flap_memory_is_bounded() -> None:
    """A server that flaps for hours costs no more memory than the bound."""
    server = ServerHealth(fall=1, rise=1, now_s=0.0)
    for number in range(1000):
        server.observe(OK if number % 2 else FAILED, number * 0.1)
    assert server.flaps(100.0) == MAX_FLAPS_COUNTED


def test_probe_that_could_not_be_made_is_no_evidence() -> None:
    """A balancer out of files neither takes its servers down nor forgets how many failures it counted."""
    unasked = ProbeResult(ok=False, reason="too many open files", rtt_s=None, inconclusive=True)
    server = ServerHealth(fall=2, rise=2, now_s=0.0)
    assert server.observe(unasked, 0.0) is None
    assert server.health == "unknown"
    observe_all(server, [OK, FAILED])
    assert observe_all(server, [unasked] * 10, start_s=10.0) == []
    assert (server.health, server.failures) == ("up", 1)
    assert "too many open files" in server.reason
    assert server.observe(FAILED, 100.0) is not None
