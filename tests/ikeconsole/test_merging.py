"""Two edits of one configuration become one, and nothing of either is lost silently."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ikeconsole.settings.merging import ORDER, Collision, Tables, merge

NAMES = st.sampled_from("abcd")
NUMBERS = st.integers(0, 3)


def entries(**others: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Tables]]:
    """Tables with names of their own."""
    entry = st.fixed_dictionaries({"name": NAMES, "weight": NUMBERS}, optional=others)
    return st.lists(entry, unique_by=lambda table: table["name"], min_size=1, max_size=3)


SERVICES = entries(
    command=st.lists(NAMES, max_size=2),
    health=st.dictionaries(st.sampled_from(["fall", "rise"]), NUMBERS, min_size=1),
    real_server=entries(),
)
TABLES = st.fixed_dictionaries(
    {},
    optional={"engine": st.dictionaries(st.sampled_from("xy"), NUMBERS, min_size=1), "service": SERVICES},
)


@given(TABLES, TABLES)
def test_what_only_one_side_changed_is_taken_over_whole(base: Tables, changed: Tables) -> None:
    assert merge(base, changed, base).tables == changed
    assert merge(base, base, changed).tables == changed
    assert merge(base, changed, deepcopy(changed)).tables == changed
    assert not merge(base, changed, base).collisions


@given(TABLES, TABLES, TABLES)
def test_both_sides_see_the_same_collisions(base: Tables, mine: Tables, theirs: Tables) -> None:
    ours = merge(base, mine, theirs).collisions
    others = merge(base, theirs, mine).collisions
    assert {(one.path, repr(one.mine), repr(one.theirs)) for one in ours} == {
        (one.path, repr(one.theirs), repr(one.mine)) for one in others
    }


@given(TABLES, TABLES, TABLES)
def test_favouring_every_collision_gives_what_the_other_side_would_get(
    base: Tables, mine: Tables, theirs: Tables
) -> None:
    paths = {collision.path for collision in merge(base, mine, theirs).collisions}
    assert _sorted(merge(base, mine, theirs, paths).tables) == _sorted(merge(base, theirs, mine).tables)


@given(TABLES, TABLES, TABLES)
def test_every_change_of_either_side_is_in_the_result_or_in_a_collision(
    base: Tables, mine: Tables, theirs: Tables
) -> None:
    merged = merge(base, mine, theirs)
    before, ours, others, after = map(_leaves, (base, mine, theirs, merged.tables))
    collided = [collision.path for collision in merged.collisions]
    for path in before.keys() | ours.keys() | others.keys():
        if any(path[: len(one)] == one for one in collided):
            continue
        wanted = {side.get(path) for side in (ours, others) if side.get(path) != before.get(path)}
        assert after.get(path) in (wanted or {before.get(path)})


def test_changes_of_different_keys_do_not_collide() -> None:
    base = {"service": [{"name": "vpn", "health": {"fall": 3}, "real_server": [{"name": "a", "weight": 1}]}]}
    mine, theirs = deepcopy(base), deepcopy(base)
    mine["service"][0]["real_server"].append({"name": "b"})  # type: ignore[attr-defined]
    theirs["service"][0]["health"] = {"fall": 3, "rise": 1}
    theirs["service"][0]["real_server"] = [{"name": "a", "weight": 9}]
    merged = merge(base, mine, theirs)
    assert not merged.collisions
    assert merged.tables == {
        "service": [
            {
                "name": "vpn",
                "health": {"fall": 3, "rise": 1},
                "real_server": [{"name": "a", "weight": 9}, {"name": "b"}],
            }
        ]
    }


def test_a_server_that_one_side_removed_and_the_other_changed_is_a_collision() -> None:
    base = {"service": [{"name": "a", "weight": 1}, {"name": "b"}]}
    mine = {"service": [{"name": "b"}]}
    theirs = {"service": [{"name": "a", "weight": 2}, {"name": "b"}]}
    merged = merge(base, mine, theirs)
    assert merged.collisions == [Collision(("service", "a"), None, {"name": "a", "weight": 2})]
    assert merged.tables == theirs
    assert merge(base, mine, theirs, {("service", "a")}).tables == mine


def test_two_new_orders_are_a_collision_and_one_new_order_is_kept() -> None:
    def named(order: str) -> Tables:
        return {"service": [{"name": name} for name in order]}

    assert merge(named("abc"), named("cab"), named("abxc")).tables == named("cabx")
    both = merge(named("abc"), named("cab"), named("bac"))
    assert [collision.path for collision in both.collisions] == [("service", ORDER)]


def _leaves(tables: Tables, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    found: dict[tuple[str, ...], str] = {}
    for key, value in tables.items():
        match value:
            case dict():
                found |= _leaves(value, (*path, key))
            case [dict(), *_]:
                for entry in value:
                    found |= _leaves(entry, (*path, key, entry["name"]))
            case _:
                found[*path, key] = repr(value)
    return found


def _sorted(value: Any) -> Any:
    match value:
        case dict():
            return {key: _sorted(inner) for key, inner in value.items()}
        case [dict(), *_]:
            return sorted(map(_sorted, value), key=lambda entry: entry["name"])
        case _:
            return value
