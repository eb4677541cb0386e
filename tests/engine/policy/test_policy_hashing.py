"""source-hash and maglev: where a client's address sends it, and who moves when servers change."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from engine.policy.candidate import Candidate, Snapshot
from engine.policy.schedulers import maglev, make_scheduler
from engine.policy.schedulers.maglev import KEPT_TABLES, TABLE_SIZE, Maglev, build_table

KEY = b"the key of this installation"
BOTH = pytest.mark.parametrize("kind", ["source-hash", "maglev"])
CLIENTS = [bytes([10, 0, number >> 8, number & 255]) for number in range(4000)]
EIGHT = [(f"rras-{number}", 100) for number in range(8)]


def servers(members: list[tuple[str, int]]) -> list[Candidate]:
    return [Snapshot(name, weight, float(weight), 0, None, None) for name, weight in members]


def placed(kind: str, members: list[tuple[str, int]], key: bytes = KEY) -> dict[bytes, str]:
    under_test = make_scheduler(kind, key=key, random=Random(1))
    candidates = servers(members)
    return {client: chosen.name for client in CLIENTS if (chosen := under_test.choose(candidates, client))}


def moved(before: dict[bytes, str], after: dict[bytes, str]) -> set[bytes]:
    return {client for client in CLIENTS if before[client] != after[client]}


@BOTH
def test_clients_are_spread_by_weight(kind: str) -> None:
    """Each server's part of 4000 clients is within 3 % of the whole of its weight's; weight 0 has none."""
    counts = Counter(placed(kind, [("a", 100), ("b", 200), ("none", 0), ("c", 500)]).values())
    parts = {name: count / len(CLIENTS) for name, count in counts.items()}
    assert parts == pytest.approx({"a": 1 / 8, "b": 2 / 8, "c": 5 / 8}, abs=0.03)


@BOTH
def test_a_client_goes_to_the_same_server_whatever_the_configuration_order(kind: str) -> None:
    """Sorting the servers in the file moves nobody."""
    assert moved(placed(kind, EIGHT), placed(kind, EIGHT[::-1])) == set()


@BOTH
def test_slow_start_moves_no_client(kind: str) -> None:
    """Hashes go by the configured weight, so a ramp does not drag clients along with it."""
    under_test = make_scheduler(kind, key=KEY, random=Random(1))
    before = placed(kind, EIGHT)
    first, *others = servers(EIGHT)
    starting = [Snapshot(first.name, first.weight, 10.0, 0, None, None), *others]
    for client in CLIENTS[:500]:
        chosen = under_test.choose(starting, client)
        assert chosen is not None
        assert chosen.name == before[client]


@BOTH
def test_two_installations_spread_the_same_clients_differently(kind: str) -> None:
    """With another key about 7 of 8 clients fall elsewhere: a spread cannot be computed by an outsider."""
    share = len(moved(placed(kind, EIGHT), placed(kind, EIGHT, b"another key"))) / len(CLIENTS)
    assert share == pytest.approx(7 / 8, abs=0.03)


def test_maglev_keys_the_table_and_the_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were only one keyed, an outsider could tell slots of one server, or clients that share a slot."""
    members = tuple(EIGHT)
    same = sum(a == b for a, b in zip(build_table(KEY, members), build_table(b"other", members), strict=True))
    assert same / TABLE_SIZE == pytest.approx(1 / 8, abs=0.01)
    monkeypatch.setattr(maglev, "build_table", lambda key, members: [slot % 8 for slot in range(TABLE_SIZE)])
    share = len(moved(placed("maglev", EIGHT), placed("maglev", EIGHT, b"other"))) / len(CLIENTS)
    assert share == pytest.approx(7 / 8, abs=0.03)


def test_source_hash_moves_only_the_clients_of_the_server_that_left() -> None:
    """And they spread over all that stay; when it comes back, all return."""
    before = placed("source-hash", EIGHT)
    after = placed("source-hash", EIGHT[:3] + EIGHT[4:])
    assert moved(before, after) == {client for client, name in before.items() if name == "rras-3"}
    assert len({after[client] for client in moved(before, after)}) == 7


def test_source_hash_moves_only_to_the_server_that_gained_weight() -> None:
    """Raising one weight draws clients to that server and shuffles nobody else."""
    before = placed("source-hash", EIGHT)
    after = placed("source-hash", [*EIGHT[:7], ("rras-7", 200)])
    assert {after[client] for client in moved(before, after)} == {"rras-7"}


def test_maglev_moves_few_others_when_a_server_leaves() -> None:
    """Beside the leaver's own slots at most 5 % change hands (the paper shows 2 to 3 % at this size)."""
    names = [name for name, _ in EIGHT]
    stay = names[:3] + names[4:]
    before = [names[member] for member in build_table(KEY, tuple(EIGHT))]
    after = [stay[member] for member in build_table(KEY, tuple(EIGHT[:3] + EIGHT[4:]))]
    bystanders = [slot for slot in range(TABLE_SIZE) if before[slot] != "rras-3"]
    assert sum(before[slot] != after[slot] for slot in bystanders) < 0.05 * TABLE_SIZE


@pytest.mark.parametrize(
    "weights", [[100] * 8, [1], [1, 2, 5], [97, 101, 3], [65_535, 65_534, 1], [30_000, 10_001], [1_000_000, 999_999]]
)
def test_maglev_slots_are_shared_by_weight(weights: list[int]) -> None:
    """Every member has its weight's part of the slots, to a thousandth, for odd and huge weights too."""
    counts = Counter(build_table(KEY, tuple((f"s{n}", weight) for n, weight in enumerate(weights))))
    assert counts.total() == TABLE_SIZE
    for member, weight in enumerate(weights):
        assert counts[member] >= 1
        assert counts[member] / TABLE_SIZE == pytest.approx(weight / sum(weights), abs=0.001)


def test_maglev_builds_no_table_again_for_a_flapping_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two memberships in turn make two tables; more of them than are kept push the oldest out."""
    built: list[maglev.Membership] = []

    def counted(key: bytes, members: maglev.Membership) -> list[int]:
        built.append(members)
        return [0] * TABLE_SIZE

    monkeypatch.setattr(maglev, "build_table", counted)
    under_test = Maglev(KEY)
    for _ in range(5):
        under_test.choose(servers(EIGHT), CLIENTS[0])
        under_test.choose(servers(EIGHT[1:]), CLIENTS[0])
    assert len(built) == 2
    for weight in range(1, KEPT_TABLES + 1):
        under_test.choose(servers([("a", weight)]), CLIENTS[0])
    under_test.choose(servers(EIGHT), CLIENTS[0])
    assert len(built) == 2 + KEPT_TABLES + 1


@BOTH
def test_ipv4_and_ipv6_clients_are_placed(kind: str) -> None:
    """A packed address of either family is a key."""
    under_test = make_scheduler(kind, key=KEY, random=Random(1))
    seen = {
        chosen.name
        for number in range(200)
        if (chosen := under_test.choose(servers(EIGHT), bytes.fromhex("20010db8") + bytes(10) + number.to_bytes(2)))
    }
    assert len(seen) == 8
