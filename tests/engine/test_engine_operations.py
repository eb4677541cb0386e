"""What an operator can do to real servers and clients while traffic passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from running_engine import (
    CLIENT,
    OTHER_CLIENT,
    PARTNERS,
    THIRD_CLIENT,
    World,
    real_server,
    refused,
    service,
    world,
)

from engine.control.records import Change, SessionQuery


async def set_server(w: World, server: str, *, state: str | None = None, weight: int | None = None) -> Change:
    return await w.engine.operations.set_server("vpn", server, state=state, weight=weight, author="tester")


@pytest.mark.trio
async def test_a_draining_server_keeps_its_tunnels_and_gets_no_new_ones(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.connected()
        change = await set_server(w, "a", state="drain")
        assert change.sessions == 1
        assert "1 sessions stay until they end" in change.done
        assert w.engine.server("a").admin_state == "drain"
        await client.echo()
        await client.authenticate()
        for host in (OTHER_CLIENT, THIRD_CLIENT):
            assert (await w.engine.session(await w.connected(host))).row.server == "b"
        assert w.engine.server("a").sessions == 1


@pytest.mark.trio
async def test_a_disabled_server_loses_its_clients_to_others_until_it_is_enabled(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.connected()
        change = await set_server(w, "a", state="disabled")
        assert change.sessions == 1
        assert "1 sessions end, their clients go on elsewhere" in change.done
        assert await w.engine.sessions() == []
        assert w.engine.service().persistence_records == 0
        assert not await client.is_known()
        await client.connect()
        (row,) = await w.engine.sessions(spi=f"{client.tunnel.spi_i:016x}")
        assert row.server == "b"

        assert (await set_server(w, "a", state="enabled")).sessions == 0
        others = [await w.connected(host) for host in (OTHER_CLIENT, THIRD_CLIENT)]
        assert {(await w.engine.session(other)).row.server for other in others} == {"a", "b"}


@pytest.mark.trio
async def test_another_weight_takes_effect_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, service(scheduler="weighted-round-robin")) as w:
        await set_server(w, "a", weight=0)
        assert (w.engine.server("a").weight, w.engine.server("b").weighted_share) == (0, 1.0)
        for host in (CLIENT, OTHER_CLIENT):
            assert (await w.engine.session(await w.connected(host))).row.server == "b"
        await set_server(w, "a", weight=300)
        assert w.engine.server("a").weighted_share == 0.75
        assert (await w.engine.session(await w.connected(THIRD_CLIENT))).row.server == "a"


@pytest.mark.trio
async def test_a_change_stands_in_the_file_beside_the_operators_comments(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.engine.edit_on_disk('name = "a"', '# in the cellar\nname = "a"  # the old one')
        await w.engine.operations.reload("tester")
        before = w.engine.path.read_text()
        await set_server(w, "a", state="drain", weight=7)
        after = w.engine.path.read_text()
        added = {"weight = 7", 'state = "drain"'}
        assert set(after.splitlines()) - set(before.splitlines()) == added
        assert [line for line in after.splitlines() if line not in added] == before.splitlines()
        newest = (await w.engine.operations.history(1))[0]
        assert (newest.author, newest.summary) == ("tester", "vpn/a: drain, weight 7")
        assert '+state = "drain"' in newest.difference


@pytest.mark.trio
async def test_unknown_names_are_refused_with_those_that_exist(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        operations, before = w.engine.operations, w.engine.path.read_text()
        with refused("not-found", "'nope'; services: vpn"):
            await operations.set_server("nope", "a", state="drain", weight=None, author="tester")
        with refused("not-found", "'z'; real servers: a, b"):
            await set_server(w, "z", state="drain")
        with refused("invalid", "enabled, drain, disabled"):
            await set_server(w, "a", state="sleepy")
        with refused("not-found", "servers: vpn/a, vpn/b"):
            await operations.move(CLIENT, "a")
        with refused("not-found", CLIENT):
            await operations.clear(CLIENT)
        with refused("not-found", "no session 17"):
            operations.session(17)
        assert w.engine.path.read_text() == before


@pytest.mark.trio
@pytest.mark.parametrize("weight", [-1, 65536])
async def test_an_impossible_weight_is_refused_and_changes_nothing(tmp_path: Path, weight: int) -> None:
    async with world(tmp_path) as w:
        before = w.engine.path.read_text()
        with refused("invalid", "vpn/a") as refusal:
            await set_server(w, "a", weight=weight)
        assert "weight" in refusal.details[0]
        assert w.engine.path.read_text() == before
        assert w.engine.server("a").weight == 100


@pytest.mark.trio
async def test_a_change_of_nothing_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        with refused("invalid", "a state or a weight"):
            await set_server(w, "a")


@pytest.mark.trio
async def test_a_moved_client_goes_to_the_server_it_was_moved_to(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.connected()
        change = await w.engine.operations.move(CLIENT, "b")
        assert change.sessions == 1
        assert await w.engine.sessions() == []
        (explained,) = w.engine.operations.explain(CLIENT)
        assert explained.next_server == "b"
        assert not await client.is_known()
        await client.connect()
        (row,) = await w.engine.sessions(spi=f"{client.tunnel.spi_i:016x}")
        assert (row.server, row.why) == ("b", f"persistence {CLIENT}/32")
        (event,) = w.engine.events("moved")
        assert (event.client, event.server) == (CLIENT, "b")


@pytest.mark.trio
async def test_a_move_holds_without_persistence_too(tmp_path: Path) -> None:
    async with world(tmp_path, service(persistence="none")) as w:
        client = await w.connected()
        await w.engine.operations.move(CLIENT, "a")
        await client.connect()
        assert (await w.engine.session(client)).row.server == "a"


@pytest.mark.trio
@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"state": "drain"}, "drain"), ({"state": "disabled"}, "disabled"), ({"weight": 0}, "weight 0")],
)
async def test_nobody_is_moved_to_a_server_that_takes_no_sessions(
    tmp_path: Path, settings: dict[str, str | int], reason: str
) -> None:
    async with world(tmp_path, service(real_server=[real_server("a"), real_server("b", **settings)])) as w:
        client = await w.connected()
        with refused("invalid", f"vpn/b takes no new sessions: {reason}"):
            await w.engine.operations.move(CLIENT, "b")
        assert (await w.engine.established(client)).row.server == "a"


@pytest.mark.trio
async def test_a_move_that_one_of_two_services_refuses_moves_nobody(tmp_path: Path) -> None:
    partners = [real_server("b", state="drain"), real_server("c")]
    async with world(tmp_path, service(), service("partners", at=PARTNERS, real_server=partners), servers="abc") as w:
        vpn, other = await w.connected(), await w.connected(at=PARTNERS)
        with refused("invalid", "partners/b"):
            await w.engine.operations.move(CLIENT, "b")
        await vpn.echo()
        await other.echo()
        assert [row.server for row in await w.engine.sessions(sort="service")] == ["c", "a"]


@pytest.mark.trio
async def test_clear_forgets_an_address_or_a_prefix_and_nobody_else(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        first, second = await w.connected(), await w.connected(OTHER_CLIENT)
        change = await w.engine.operations.clear(CLIENT)
        assert (change.sessions, change.done) == (1, f"cleared {CLIENT}: 1 sessions, 1 persistence records")
        assert w.engine.events("cleared")[0].client == CLIENT
        (explained,) = w.engine.operations.explain(CLIENT)
        assert (explained.sessions, explained.persistence) == ([], None)
        assert w.engine.operations.status().open_sockets == 2
        await second.echo()

        await first.connect()
        assert (await w.engine.operations.clear(f"{CLIENT}/24")).sessions == 2
        assert await w.engine.sessions() == []
        assert w.engine.operations.status().flows == w.engine.operations.status().open_sockets == 0


@pytest.mark.trio
async def test_bad_questions_are_refused_with_what_to_write(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        operations = w.engine.operations
        with refused("invalid", "'asleep'"):
            await operations.sessions(SessionQuery(phase="asleep"))
        with refused("invalid", "'colour'"):
            await operations.sessions(SessionQuery(sort="colour"))
        with refused("invalid", "hexadecimal"):
            await operations.sessions(SessionQuery(spi="xyz"))
        with refused("invalid", "offset"):
            await operations.sessions(SessionQuery(offset=-1))
        with refused("invalid", "is no address"):
            operations.explain("somebody")
        with refused("invalid", "one client address"):
            operations.explain("10.0.0.0/8")
        with refused("invalid", "one client address"):
            await operations.move("10.0.0.0/8", "a")


@pytest.mark.trio
async def test_a_query_gets_its_window_and_how_many_there_are(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for host in (CLIENT, OTHER_CLIENT, THIRD_CLIENT):
            await w.connected(host)
        page = await w.engine.operations.sessions(SessionQuery(sort="client", offset=1, limit=1))
        assert (page.total, page.matched, page.offset) == (3, 3, 1)
        assert [row.client.rpartition(":")[0] for row in page.rows] == [OTHER_CLIENT]
        page = await w.engine.operations.sessions(SessionQuery(server="a", sort="client", descending=True))
        assert (page.total, page.matched) == (3, 2)
        assert [row.client.rpartition(":")[0] for row in page.rows] == [THIRD_CLIENT, CLIENT]
