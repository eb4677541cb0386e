"""What an operator can do to real servers, and ask of sessions, while traffic passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from running_engine import (
    CLIENT,
    OTHER_CLIENT,
    THIRD_CLIENT,
    World,
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
        assert "1 session stays until it ends" in change.done
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
        assert "1 session ends, clients go on elsewhere" in change.done
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
