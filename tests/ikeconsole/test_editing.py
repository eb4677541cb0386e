"""An edit of the settings: what was changed, what is wrong with it, and where its tables go when others change too."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from engine.control.records import Settings
from ikeconsole.settings.editing import Editing

TABLES: dict[str, Any] = {
    "service": [
        {
            "name": "vpn",
            "address": "192.0.2.1",
            "real_server": [{"name": "a", "address": "192.0.2.11"}, {"name": "b", "address": "192.0.2.12"}],
        },
        {"name": "other", "address": "192.0.2.2", "health": {"fall": 9}},
    ]
}
VPN = ("service", 0)
B = (*VPN, "real_server", 1)


def settings(tables: dict[str, Any] = TABLES, base: str = "one") -> Settings:
    return Settings(base=base, path="/etc/config.toml", tables=deepcopy(tables))


def test_a_key_that_returns_to_its_default_leaves_no_empty_table_behind() -> None:
    editing = Editing(settings())
    editing.put((*VPN, "health", "rise"), 1)
    assert editing.changed
    editing.put((*VPN, "health", "rise"), None)
    assert not editing.changed


def test_a_renamed_server_is_still_compared_with_what_it_was() -> None:
    editing = Editing(settings())
    editing.put((*B, "name"), "c")
    editing.put((*B, "weight"), 7)
    assert editing.before((*B, "name")) == "b"
    assert editing.before((*B, "address")) == "192.0.2.12"
    added = editing.add((*VPN, "real_server"), {"name": "b"})
    assert editing.before((*added, "name")) is None


def test_problems_are_those_of_check_and_name_the_place_by_its_key() -> None:
    editing = Editing(settings())
    editing.put(("service", 1, "address"), "192.0.2.1")
    problem = editing.problems()[0]
    assert problem.key == editing.key_of(("service", 1)) + ".ike_port"
    assert "192.0.2.1:500 is already service.vpn.ike_port" in problem.message
    added = editing.add((*VPN, "real_server"), {})
    assert editing.key_of(added) == "service.vpn.real_server[3]"


def test_a_form_follows_its_table_when_others_add_and_remove_some() -> None:
    editing = Editing(settings())
    vpn, b = editing.spot(VPN), editing.spot(B)
    theirs = deepcopy(TABLES)
    theirs["service"].insert(0, {"name": "new", "address": "192.0.2.3"})
    del theirs["service"][1]["real_server"][0]
    editing.take_over(settings(theirs, "two"))
    assert (vpn.place, b.place) == (("service", 1), ("service", 1, "real_server", 0))
    del theirs["service"][1]["real_server"][0]
    editing.take_over(settings(theirs, "three"))
    assert (vpn.place, b.place) == (("service", 1), None)


def test_a_merge_keeps_both_changes_and_makes_theirs_the_base() -> None:
    editing = Editing(settings())
    editing.put((*B, "weight"), 7)
    theirs = deepcopy(TABLES)
    theirs["service"][0]["real_server"][1] |= {"weight": 8, "state": "drain"}
    assert [collision.path[-1] for collision in editing.collisions(settings(theirs, "two"))] == ["weight"]
    editing.merge(settings(theirs, "two"), {("service", "vpn", "real_server", "b", "weight")})
    assert editing.value(B) == {"name": "b", "address": "192.0.2.12", "weight": 7, "state": "drain"}
    assert editing.settings.base == "two"
    assert editing.before((*B, "weight")) == 8
