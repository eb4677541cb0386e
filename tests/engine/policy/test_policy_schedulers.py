"""What every scheduler promises, whatever its formula."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config.schema import SchedulerKind
from engine.policy.candidate import Candidate, Snapshot
from engine.policy.schedulers import Scheduler, make_scheduler
from engine.policy.slowstart import effective_weight

KINDS = [str(kind) for kind in SchedulerKind]
CLIENT = bytes([192, 0, 2, 1])


def scheduler(kind: str) -> Scheduler:
    return make_scheduler(kind, key=b"a key for tests", random=Random(1))


# Few names and weights: maglev is asked for memberships it has seen, not for a new table each time.
server = st.builds(
    lambda name, weight, up_for_s, sessions, rtt_s, load: Snapshot(
        name, weight, effective_weight(weight, up_for_s, 60), sessions, rtt_s, load
    ),
    name=st.sampled_from("abc"),
    weight=st.sampled_from([0, 1, 100]),
    up_for_s=st.floats(0, 90),
    sessions=st.integers(0, 400_000).map(lambda quarters: quarters / 4),
    rtt_s=st.none() | st.floats(0, 5),
    load=st.none() | st.integers(0, 100),
)
servers = st.lists(server, max_size=3, unique_by=lambda candidate: candidate.name)
clients = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(rounds=st.lists(st.tuples(servers, clients), max_size=6))
def test_a_scheduler_chooses_one_with_weight_whenever_there_is_one_and_peek_foretells_it(
    kind: str, rounds: list[tuple[list[Candidate], bytes]]
) -> None:
    """Servers come, go and change between sessions: no None while a server would take it, never weight 0."""
    under_test = scheduler(kind)
    for candidates, client in rounds:
        foretold = under_test.peek(candidates, client)
        assert under_test.peek(candidates, client) is foretold
        chosen = under_test.choose(candidates, client)
        assert chosen is foretold
        if any(candidate.weight for candidate in candidates):
            assert chosen in candidates
            assert chosen.weight > 0
        else:
            assert chosen is None


@pytest.mark.parametrize(
    "kind",
    [kind for kind in KINDS if kind not in {"source-hash", "maglev", "two-choices", "weighted-response-time"}],
)
@given(order=st.permutations("abcd"))
def test_of_equals_the_first_by_configuration_order_wins(kind: str, order: list[str]) -> None:
    """Nothing but the order given decides a tie: not the names."""
    candidates = [Snapshot(name, 10, 10.0, 3, 0.02, 0) for name in order]
    chosen = scheduler(kind).choose(candidates, CLIENT)
    assert chosen is candidates[0]


def test_an_unknown_kind_is_refused() -> None:
    """A name that the configuration cannot hold is a mistake in the caller, said at once."""
    with pytest.raises(ValueError, match="first-come"):
        scheduler("first-come")


@pytest.mark.parametrize("size_bytes", [0, 65])
def test_a_key_that_would_not_be_used_whole_is_refused(size_bytes: int) -> None:
    """An empty key would leave the hash to anyone; above 64 bytes the hash takes none."""
    with pytest.raises(ValueError, match=f"{size_bytes} bytes"):
        make_scheduler("maglev", key=bytes(size_bytes), random=Random(1))
