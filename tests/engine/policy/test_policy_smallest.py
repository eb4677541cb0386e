"""The schedulers that compare load: least connections and its relatives, fixed, and two choices."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.policy.candidate import Candidate, Snapshot
from engine.policy.schedulers import make_scheduler

CLIENT = bytes([192, 0, 2, 1])


def server(name: str, weight: int, sessions: float, effective_weight: float | None = None) -> Candidate:
    return Snapshot(name, weight, weight if effective_weight is None else effective_weight, sessions, None, None)


@pytest.mark.parametrize(
    ("kind", "candidates", "name"),
    [
        ("least-connections", [server("a", 9, 4), server("b", 1, 3.75), server("c", 9, 4)], "b"),
        ("least-connections", [server("a", 0, 0), server("b", 1, 7), server("c", 1, 7)], "b"),
        # 10/4 = 2.5, 3/1 = 3, 5/2 = 2.5: of a and c the first.
        ("weighted-least-connections", [server("a", 4, 10), server("b", 1, 3), server("c", 2, 5)], "a"),
        # a in slow start: 2/1 against 15/8.
        ("weighted-least-connections", [server("a", 10, 2, 1.0), server("b", 8, 15)], "b"),
        # Both idle: (0+1)/1 against (0+1)/3.
        ("shortest-expected-delay", [server("a", 1, 0), server("b", 3, 0)], "b"),
        # (2+1)/3 = 1, (0+1)/1 = 1: the first.
        ("shortest-expected-delay", [server("a", 3, 2), server("b", 1, 0)], "a"),
        ("fixed", [server("a", 1, 0), server("b", 5, 900), server("c", 5, 0)], "b"),
        # Slow start does not hand a fixed server's clients to its stand-in.
        ("fixed", [server("a", 10, 0, 1.0), server("b", 5, 0)], "a"),
    ],
)
def test_the_smallest_figure_takes_the_session(kind: str, candidates: list[Candidate], name: str) -> None:
    """Worked by hand from the formulas."""
    chosen = make_scheduler(kind, key=b"k", random=Random(1)).choose(candidates, CLIENT)
    assert chosen is not None
    assert chosen.name == name


@pytest.mark.parametrize("kind", ["weighted-least-connections", "shortest-expected-delay"])
@given(weights=st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_sessions_that_stay_fill_servers_by_weight(kind: str, weights: list[int]) -> None:
    """Ten sessions a unit of weight later, each server holds ten times its weight, give or take one."""
    under_test = make_scheduler(kind, key=b"k", random=Random(1))
    servers = {name: server(name, weight, 0) for name, weight in zip("abcde", weights, strict=False)}
    for _ in range(10 * sum(weights)):
        chosen = under_test.choose(list(servers.values()), CLIENT)
        assert chosen is not None
        servers[chosen.name] = replace(chosen, load=chosen.load + 1)
    for filled in servers.values():
        assert abs(filled.load - 10 * filled.weight) <= 1


class Draws(Random):
    """Random numbers as written down in the test."""

    def __init__(self, *draws: float) -> None:
        super().__init__()
        self._draws = list(draws)

    def random(self) -> float:
        return self._draws.pop(0)


@pytest.mark.parametrize(
    ("draws", "name"),
    [
        ((0.10, 0.30), "b"),  # a at 8/1, b at 6/1
        ((0.10, 0.95), "c"),  # a at 8/1, c at 10/2
        ((0.49, 0.30), "b"),  # b twice, though c has less to do
        ((0.00, 0.24), "a"),  # a twice, though it has most to do
        ((0.999, 0.50), "c"),  # c's part starts in the middle
    ],
)
def test_two_choices_draws_two_by_weight_and_takes_the_less_loaded(draws: tuple[float, float], name: str) -> None:
    """Weights 1, 1, 2: a has the draws below 0.25, b those below 0.5, c the rest."""
    candidates = [server("a", 1, 8), server("b", 1, 6), server("c", 2, 10)]
    chosen = make_scheduler("two-choices", key=b"k", random=Draws(*draws, 0.0, 0.0)).choose(candidates, CLIENT)
    assert chosen is not None
    assert chosen.name == name


def test_two_choices_takes_the_first_of_equals_in_whatever_order_they_were_drawn() -> None:
    """c before a in the draw, a before c in the configuration: a."""
    candidates = [server("a", 1, 2), server("b", 1, 2), server("c", 1, 2)]
    chosen = make_scheduler("two-choices", key=b"k", random=Draws(0.9, 0.1, 0.0, 0.0)).choose(candidates, CLIENT)
    assert chosen is candidates[0]


def test_two_choices_keeps_servers_close_to_their_weight() -> None:
    """Of 4000 sessions that stay, each server's part is within 2 % of the whole of its weight's."""
    under_test = make_scheduler("two-choices", key=b"k", random=Random(7))
    servers = {name: server(name, weight, 0) for name, weight in [("a", 1), ("b", 2), ("c", 5)]}
    for _ in range(4000):
        chosen = under_test.choose(list(servers.values()), CLIENT)
        assert chosen is not None
        servers[chosen.name] = replace(chosen, load=chosen.load + 1)
    parts = Counter({name: filled.load / 4000 for name, filled in servers.items()})
    assert parts == pytest.approx({"a": 1 / 8, "b": 2 / 8, "c": 5 / 8}, abs=0.02)
