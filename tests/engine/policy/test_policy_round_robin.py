"""Round robin, weighted round robin, adaptive and weighted response time: who takes which turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.policy.candidate import Candidate, Snapshot
from engine.policy.schedulers import Scheduler, make_scheduler
from engine.policy.schedulers.round_robin import SmoothRoundRobin, weight_shares

CLIENT = bytes([192, 0, 2, 1])


def server(name: str, weight: int, *, rtt_s: float | None = None, load: int | None = None) -> Candidate:
    return Snapshot(name, weight, float(weight), 0, rtt_s, load)


def scheduler(kind: str) -> Scheduler:
    return make_scheduler(kind, key=b"a key for tests", random=Random(1))


def turns(under_test: Scheduler, candidates: Sequence[Candidate], count: int) -> str:
    names = []
    for _ in range(count):
        chosen = under_test.choose(candidates, CLIENT)
        assert chosen is not None
        names.append(chosen.name)
    return "".join(names)


def test_round_robin_ignores_weights_and_takes_turns_in_configuration_order() -> None:
    """A heavy server gets no more than a light one; only weight 0 is left out."""
    candidates = [server("a", 100), server("b", 1), server("z", 0), server("c", 7)]
    assert turns(scheduler("round-robin"), candidates, 7) == "abcabca"


@pytest.mark.parametrize(
    ("weights", "sequence"),
    [
        ([5, 1, 1], "aabacaa" * 2),
        ([2, 1], "aba" * 3),
        ([3, 2], "ababa"),
        ([1, 1, 1], "abcabc"),
        ([1, 4], "bbabb"),
    ],
)
def test_weighted_round_robin_spreads_turns_smoothly(weights: list[int], sequence: str) -> None:
    """Sequences worked by hand from: credit each its weight, take the largest, subtract the sum."""
    candidates = [server(name, weight) for name, weight in zip("abc", weights, strict=False)]
    assert turns(scheduler("weighted-round-robin"), candidates, len(sequence)) == sequence


@given(weights=st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_weighted_round_robin_gives_each_exactly_its_weight_in_each_cycle(weights: list[int]) -> None:
    """After as many sessions as the weights add up to, each server has had exactly its weight of them."""
    candidates = [server(name, weight) for name, weight in zip("abcdef", weights, strict=False)]
    under_test = scheduler("weighted-round-robin")
    for _ in range(2):
        assert Counter(turns(under_test, candidates, sum(weights))) == {s.name: s.weight for s in candidates}


def test_a_slow_starting_server_has_a_part_by_its_effective_weight() -> None:
    """A tenth of equal weight means one session to ten, though the weight is not whole any more."""
    candidates = [server("a", 5), Snapshot("b", 5, 0.5, 0, None, None)]
    assert Counter(turns(scheduler("weighted-round-robin"), candidates, 22)) == {"a": 20, "b": 2}


def test_turns_go_on_where_they_were_when_a_server_leaves() -> None:
    """a has had its turn, so b is next: a membership change does not start over with the first server."""
    a, b, c = server("a", 1), server("b", 1), server("c", 1)
    under_test = scheduler("round-robin")
    assert turns(under_test, [a, b, c], 1) == "a"
    assert turns(under_test, [a, b], 3) == "bab"


@given(history=st.lists(st.sets(st.sampled_from("abcd")), max_size=40))
def test_turns_are_fair_again_after_any_coming_and_going(history: list[set[str]]) -> None:
    """Whatever credit a past of flapping servers left, each of four equals has a turn among the next twelve."""
    under_test = scheduler("round-robin")
    for present in history:
        under_test.choose([server(name, 1) for name in sorted(present)], CLIENT)
    assert set(turns(under_test, [server(name, 1) for name in "abcd"], 12)) == set("abcd")


def test_a_lowered_weight_leaves_no_old_debt() -> None:
    """a owes 100 000 from its old weight; now an equal of b at 1, it waits one turn, not as many."""
    under_test = scheduler("weighted-round-robin")
    assert turns(under_test, [server("a", 100_000), server("b", 100_000)], 1) == "a"
    assert turns(under_test, [server("a", 1), server("b", 1)], 4) == "baba"


def test_credits_of_servers_that_are_gone_are_forgotten() -> None:
    """A year of renamed servers leaves nothing behind."""
    under_test = SmoothRoundRobin(weight_shares)
    for number in range(100):
        under_test.choose([server(f"s{number}", 1), server("a", 1)], CLIENT)
    under_test.choose([], CLIENT)
    assert under_test._credits == {}
    assert under_test._shares == {}


def test_adaptive_takes_turns_by_what_the_agents_leave_free() -> None:
    """Weight 100 at load 75 is 25, against 50 at load 50 = 25, against 50 idle: 1, 1, 2 of four."""
    candidates = [server("a", 100, load=75), server("b", 50, load=50), server("c", 50, load=0)]
    assert turns(scheduler("adaptive"), candidates, 8) == "cabc" * 2


def test_adaptive_goes_by_static_weights_while_all_are_quiet() -> None:
    """Loads of 4 and 0 are noise, a server that is down is no load; at 5 they begin to count."""
    quiet = [server("a", 1, load=4), server("b", 1, load=0), server("down", 1, load=101)]
    assert Counter(turns(scheduler("adaptive"), quiet, 200)) == {"a": 100, "b": 100}
    busy = [server("a", 1, load=5), server("b", 1, load=0)]
    assert Counter(turns(scheduler("adaptive"), busy, 195)) == {"a": 95, "b": 100}


def test_adaptive_leaves_out_servers_whose_agent_says_down_or_disabled() -> None:
    """101 and 102 are words, not loads: such a server takes nothing, even when it is the only one."""
    down, disabled = server("a", 100, load=101), server("b", 100, load=102)
    assert turns(scheduler("adaptive"), [down, disabled, server("c", 1, load=99)], 3) == "ccc"
    assert scheduler("adaptive").choose([down, disabled], CLIENT) is None


def test_adaptive_gives_an_unanswering_agent_its_static_weight() -> None:
    """No answer is neither idle gain nor a fault: beside a half loaded equal it has two turns of three."""
    candidates = [server("a", 10, load=None), server("b", 10, load=50)]
    assert Counter(turns(scheduler("adaptive"), candidates, 30)) == {"a": 20, "b": 10}


def test_adaptive_still_serves_when_all_are_overloaded() -> None:
    """At load 100 everywhere nothing is free; weights decide, and no client is turned away."""
    candidates = [server("a", 2, load=100), server("b", 1, load=100), server("down", 9, load=101)]
    assert turns(scheduler("adaptive"), candidates, 3) == "aba"


def test_adaptive_spares_an_overloaded_server_while_another_has_room() -> None:
    """Load 100 leaves nothing of a weight."""
    candidates = [server("a", 100, load=100), server("b", 1, load=99)]
    assert turns(scheduler("adaptive"), candidates, 3) == "bbb"


def test_response_time_takes_the_fastest_for_its_weight() -> None:
    """20 ms at weight 1 is 20, 30 ms at weight 2 is 15: b."""
    candidates = [server("a", 1, rtt_s=0.020), server("b", 2, rtt_s=0.030), server("c", 1, rtt_s=0.025)]
    assert turns(scheduler("weighted-response-time"), candidates, 5) == "bbbbb"


def test_response_time_gives_an_unmeasured_server_its_weight_of_the_turns() -> None:
    """b is unmeasured and has its one part of four; the rest is decided among the measured."""
    candidates = [server("a", 2, rtt_s=0.010), server("b", 1), server("c", 1, rtt_s=0.001)]
    assert Counter(turns(scheduler("weighted-response-time"), candidates, 40)) == {"b": 10, "c": 30}


def test_response_time_with_nothing_measured_goes_by_weight() -> None:
    """A service whose probe has no round trip is plain weighted round robin."""
    candidates = [server("a", 5), server("b", 1), server("c", 1)]
    assert turns(scheduler("weighted-response-time"), candidates, 7) == "aabacaa"
