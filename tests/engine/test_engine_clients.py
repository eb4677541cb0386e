"""What an operator can ask about single clients and do to them while traffic passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from running_engine import (
    CLIENT,
    FAST_PROBES,
    OTHER_CLIENT,
    PARTNERS,
    THIRD_CLIENT,
    World,
    real_server,
    refused,
    service,
    until,
    world,
)
from vpn_peers import Client

from engine import clients
from engine.acceleration import Acceleration
from engine.sessions.flow import Flow


def sentence(lines: list[str], part: str) -> str:
    """The one sentence with a part."""
    (found,) = [line for line in lines if part in line]
    return found


async def server_of(w: World, client: Client) -> str:
    """Have a client set up a new tunnel; the name of its real server."""
    await client.connect()
    (row,) = await w.engine.sessions(spi=f"{client.tunnel.spi_i:016x}")
    return row.server


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
        change = await w.engine.operations.clear(CLIENT, None)
        assert (change.sessions, change.done) == (1, f"cleared {CLIENT}: 1 session, 1 persistence record")
        assert w.engine.events("cleared")[0].client == CLIENT
        (explained,) = w.engine.operations.explain(CLIENT)
        assert (explained.sessions, explained.persistence) == ([], None)
        assert w.engine.operations.status().open_sockets == 2
        await second.echo()

        await first.connect()
        assert (await w.engine.operations.clear(f"{CLIENT}/24", None)).sessions == 2
        assert await w.engine.sessions() == []
        assert w.engine.operations.status().flows == w.engine.operations.status().open_sockets == 0


@pytest.mark.trio
async def test_bad_questions_about_clients_are_refused_with_what_to_write(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        operations = w.engine.operations
        with refused("invalid", "is no address"):
            operations.explain("somebody")
        for host_only in (lambda: operations.explain("10.0.0.0/8"), lambda: operations.pin("10.0.0.0/8", "a")):
            with refused("invalid", "one client address"):
                host_only()
        with refused("invalid", "one client address"):
            await operations.move("10.0.0.0/8", "a")
        for move in (lambda: operations.preview_move(CLIENT, "a"), lambda: operations.pin(CLIENT, "z")):
            with refused("not-found", "servers: vpn/a, vpn/b"):
                move()
        with refused("not-found", "servers: vpn/a, vpn/b"):
            await operations.move(CLIENT, "a")
        for clear in (operations.clear, operations.preview_clear):
            with refused("not-found", CLIENT):
                await clear(CLIENT, None)
            with refused("not-found", "no session 17"):
                await clear("", 17)
            for client, session in (("", None), (CLIENT, 17)):
                with refused("invalid", "name a client address or prefix, or the number of one session"):
                    await clear(client, session)
        with refused("not-found", "`ikeconsole pins`"):
            operations.unpin(CLIENT)


@pytest.mark.trio
async def test_one_session_is_cleared_and_the_rest_of_its_client_stays(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        first, second = await w.connected(), await w.connected()
        (row,) = await w.engine.sessions(spi=f"{first.tunnel.spi_i:016x}")
        change = await w.engine.operations.clear("", row.id)
        assert change.sessions == 1
        assert change.done == (
            f"cleared session {row.id} of {CLIENT} on vpn/a. "
            f"Of {CLIENT} stay: 1 other session and its persistence record."
        )
        (left,) = await w.engine.sessions()
        assert left.spi_i == f"{second.tunnel.spi_i:016x}"
        assert w.engine.service().persistence_records == 1
        await second.echo()
        change = await w.engine.operations.clear("", left.id)
        assert change.done.endswith(f"Of {CLIENT} stay: its persistence record.")
        assert [event.client for event in w.engine.events("cleared")] == [CLIENT, CLIENT]


@pytest.mark.trio
async def test_the_end_of_a_cleared_session_counts_what_the_kernel_forwarded_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refresh(_: Acceleration, flow: Flow, now_s: float) -> None:
        flow.bytes_in, flow.last_in_s = 5_000_000, now_s

    async with world(tmp_path) as w:
        await w.connected()
        monkeypatch.setattr(Acceleration, "refresh", refresh)
        await w.engine.operations.clear(CLIENT, None)
        (event,) = w.engine.events("session-ended")
        assert "10 MB in" in event.text


@pytest.mark.trio
async def test_the_preview_of_a_cleared_session_says_that_its_tunnel_goes_on(tmp_path: Path) -> None:
    """And so it does: the persistence record takes the next packet to the real server that knows the tunnel."""
    async with world(tmp_path) as w:
        client = await w.connected()
        (row,) = await w.engine.sessions()
        effect = await w.engine.operations.preview_clear("", row.id)
        assert effect.sessions == 1
        assert effect.lines[0] == "1 of 1 session ends: 1 on vpn/a (1 established)."
        assert f"vpn/a (persistence {CLIENT}/32), where it is now: a tunnel that works there goes on" in effect.lines[1]
        assert effect.lines[2] == f"Of {CLIENT} stay: its persistence record."
        assert [still.id for still in await w.engine.sessions()] == [row.id]
        await w.engine.operations.clear("", row.id)
        assert await client.is_known()


@pytest.mark.trio
async def test_the_preview_of_a_cleared_client_names_the_server_it_then_goes_to(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client, _ = await w.connected(), await w.connected(OTHER_CLIENT)
        await w.connected(THIRD_CLIENT)
        w.engine.operations.pin(CLIENT, "a")
        effect = await w.engine.operations.preview_clear(CLIENT, None)
        assert effect.sessions == 1
        assert effect.lines[0] == "1 of 3 sessions ends: 1 on vpn/a (1 established)."
        assert "goes to vpn/b (scheduled by round-robin), which does not know its tunnel" in effect.lines[1]
        assert "Windows tries for its network outage time (30 min" in effect.lines[1]
        assert sentence(effect.lines, "pin ") == f"1 pin is forgotten: {CLIENT}/32 → vpn/a."
        assert (await w.engine.operations.clear(CLIENT, None)).done.endswith(f", 1 pin ({CLIENT}/32)")
        assert not await client.is_known()
        assert w.engine.operations.pins() == []


@pytest.mark.trio
async def test_the_preview_of_a_cleared_prefix_counts_by_server(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for host in (CLIENT, OTHER_CLIENT, THIRD_CLIENT):
            await w.connected(host)
        effect = await w.engine.operations.preview_clear(f"{CLIENT}/24", None)
        assert effect.sessions == 3
        assert effect.lines[0] == "3 of 3 sessions end: 2 on vpn/a and 1 on vpn/b (3 established)."
        assert "Each client is scheduled anew" in effect.lines[1]
        assert "3 persistence records are forgotten" in effect.lines[2]
        assert len(await w.engine.sessions()) == 3


@pytest.mark.trio
async def test_the_preview_of_a_move_says_what_the_move_then_does(tmp_path: Path) -> None:
    limited = [real_server("a"), real_server("b", max_sessions=1500)]
    async with world(tmp_path, service(real_server=limited)) as w:
        await w.connected()
        effect = w.engine.operations.preview_move(CLIENT, "b")
        assert effect.lines == [
            "1 of 1 session ends: 1 on vpn/a (1 established).",
            effect.lines[1],
            "It returns there until it has been away for 30 m.",
        ]
        assert "vpn/b (it carries 0 sessions of at most 1 500), which does not know its tunnel" in effect.lines[1]
        assert (await w.engine.operations.move(CLIENT, "vpn/b")).sessions == effect.sessions == 1


@pytest.mark.trio
async def test_a_pinned_client_goes_to_its_server_and_those_that_it_has_stay(tmp_path: Path) -> None:
    async with world(tmp_path, service(persistence="none")) as w:
        there = await w.connected()
        change = w.engine.operations.pin(CLIENT, "b")
        assert change.done == (
            f"{CLIENT}/32 is pinned to vpn/b; 1 session of {CLIENT} on other servers stays there "
            f"(`ikeconsole move {CLIENT} vpn/b` sends them). It holds until unpinned"
        )
        assert w.engine.events("pinned")[0].client == CLIENT
        await there.echo()
        clients_ = [w.client(), w.client()]
        assert [await server_of(w, client) for client in clients_] == ["b", "b"]
        rows = await w.engine.sessions(sort="age")
        assert [(row.server, row.pinned) for row in rows] == [("b", True), ("b", True), ("a", False)]
        assert rows[0].why == f"pinned {CLIENT}/32"
        (row,) = w.engine.operations.pins()
        assert (row.service, row.client, row.server, row.pinned) == ("vpn", f"{CLIENT}/32", "b", True)
        (explained,) = w.engine.operations.explain(CLIENT)
        assert (explained.next_server, explained.persistence) == ("b", row)
        assert {
            (await w.engine.session(await w.connected(host))).row.server for host in (OTHER_CLIENT, THIRD_CLIENT)
        } == {
            "a",
            "b",
        }


@pytest.mark.trio
async def test_an_unpinned_client_is_scheduled_again_and_its_tunnel_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path, service(persistence="none")) as w:
        w.engine.operations.pin(CLIENT, "a")
        client = await w.connected()
        change = w.engine.operations.unpin(CLIENT)
        assert change.done == f"unpinned {CLIENT}/32 from vpn/a: its sessions stay, new ones are scheduled"
        assert w.engine.events("unpinned")[0].client == CLIENT
        await client.echo()
        assert w.engine.operations.pins() == []
        assert [await server_of(w, w.client()) for _ in "12"] == ["a", "b"]
        assert not any(row.pinned for row in await w.engine.sessions())


@pytest.mark.trio
async def test_a_record_that_does_not_count_now_is_said_to_be_passed_over(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.connected()
        await w.engine.operations.set_server("vpn", "a", state="drain", weight=None, author="alice")
        (explained,) = w.engine.operations.explain(CLIENT)
        assert explained.persistence is not None
        assert explained.persistence.server == "a"
        assert explained.next_server == "b"
        assert explained.next_reason == "scheduled by round-robin; its record names a: drain"


@pytest.mark.trio
async def test_what_is_known_of_a_handshake_is_shown(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        detail = await w.engine.established(await w.connected())
        assert detail.handshake_s is not None
        assert 0 < detail.handshake_s < 5
        assert (detail.trouble, detail.row.error) == (None, "")
        server = w.engine.server("a")
        assert (server.handshakes, server.handshake_median_s) == (1, detail.handshake_s)
        assert server.handshake_p95_s == detail.handshake_s


@pytest.mark.trio
async def test_the_pin_of_a_server_that_goes_down_waits_for_it(tmp_path: Path) -> None:
    async with world(tmp_path, service(health=FAST_PROBES)) as w:
        await w.engine.healthy("a", "b")
        w.engine.operations.pin(CLIENT, "a")
        await w.connected()
        await w.servers["a"].stop()
        await w.engine.event("server-down")
        await until(lambda: w.engine.server("a").sessions == 0)
        (explained,) = w.engine.operations.explain(CLIENT)
        assert explained.next_server == "b"
        assert explained.next_reason == "scheduled by round-robin; pinned to a: down"
        client = w.client()
        assert await server_of(w, client) == "b"
        assert "takes no new sessions now (down): until it does" in w.engine.operations.pin(CLIENT, "a").done

        await w.start(w.servers["a"])
        await w.engine.healthy("a")
        await client.echo()
        assert await server_of(w, w.client()) == "a"


@pytest.mark.trio
async def test_a_draining_server_is_passed_over_until_it_is_enabled(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.engine.operations.pin(CLIENT, "a")
        for state, server in (("drain", "b"), ("disabled", "b"), ("enabled", "a")):
            await w.engine.operations.set_server("vpn", "a", state=state, weight=None, author="tester")
            assert await server_of(w, w.client()) == server
        assert [row.server for row in w.engine.operations.pins()] == ["a"]


@pytest.mark.trio
async def test_a_pin_survives_other_kinds_of_persistence_and_another_address_of_its_server(tmp_path: Path) -> None:
    async with world(tmp_path, servers="abc") as w:
        w.engine.operations.pin(CLIENT, "b")
        for kind in ("ike-spi", "none", "source-address"):
            await w.engine.reload(service(persistence=kind))
            assert await server_of(w, w.client()) == "b"
        elsewhere = [real_server("a"), {"name": "b", "address": w.servers["c"].host}]
        await w.engine.reload(service(real_server=elsewhere))
        assert await server_of(w, w.client()) == "b"
        assert w.servers["c"].ike_sas == 1
        assert w.engine.events("unpinned") == []


@pytest.mark.trio
@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"servers": "a"}, "their real server was removed"),
        ({"name": "other"}, "the service was removed"),
        ({"persistence_prefix": {"v4": 24}}, "the service's persistence_prefix changed"),
    ],
)
async def test_pins_that_cannot_go_on_are_dropped_and_an_event_says_whose(
    tmp_path: Path, settings: dict[str, object], why: str
) -> None:
    async with world(tmp_path) as w:
        w.engine.operations.pin(CLIENT, "b")
        await w.engine.reload(service(**settings))  # type: ignore[arg-type]
        assert w.engine.operations.pins() == []
        (event,) = w.engine.events("unpinned")
        assert (event.severity, event.text) == ("warning", f"vpn: no longer pinned, because {why}: {CLIENT}/32 (b)")


@pytest.mark.trio
async def test_a_pin_holds_for_the_network_that_counts_as_one_client(tmp_path: Path) -> None:
    async with world(tmp_path, service(persistence_prefix={"v4": 24})) as w:
        network = f"{CLIENT.rpartition('.')[0]}.0/24"
        assert w.engine.operations.pin(CLIENT, "b").done.startswith(f"{network} is pinned to vpn/b.")
        assert (await w.engine.session(await w.connected(OTHER_CLIENT))).row.pinned
        with refused("not-found", "is not pinned"):
            w.engine.operations.unpin(f"{CLIENT}/25")
        w.engine.operations.unpin(network)
        assert w.engine.operations.pins() == []


@pytest.mark.trio
async def test_moving_a_pinned_client_changes_its_pin(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.engine.operations.pin(CLIENT, "a")
        await w.connected()
        effect = w.engine.operations.preview_move(CLIENT, "b")
        assert effect.lines[-1] == f"The pin of {CLIENT}/32 to vpn/a is changed to it."
        change = await w.engine.operations.move(CLIENT, "b")
        assert change.done.endswith("; it is pinned to vpn/b now")
        assert [row.server for row in w.engine.operations.pins()] == ["b"]
        assert await server_of(w, w.client()) == "b"


@pytest.mark.trio
async def test_a_server_may_be_named_with_its_service(tmp_path: Path) -> None:
    """Without the service's name, every service with such a server is meant."""
    async with world(tmp_path, service(), service("partners", at=PARTNERS)) as w:
        w.engine.operations.pin(CLIENT, "partners/b")
        assert [(row.service, row.server) for row in w.engine.operations.pins()] == [("partners", "b")]
        w.engine.operations.pin(CLIENT, "a")
        assert [(row.service, row.server) for row in w.engine.operations.pins()] == [("vpn", "a"), ("partners", "a")]
        vpn, partners = await w.connected(), await w.connected(at=PARTNERS)
        assert (await w.engine.operations.move(CLIENT, "partners/b")).sessions == 1
        await vpn.echo()
        assert not await partners.is_known()


@pytest.mark.trio
async def test_no_more_clients_are_pinned_than_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MAX_PINS", 1)
    async with world(tmp_path) as w:
        w.engine.operations.pin(CLIENT, "a")
        with refused("failed", "unpin some first"):
            w.engine.operations.pin(OTHER_CLIENT, "a")
        w.engine.operations.pin(CLIENT, "b")
        assert [row.server for row in w.engine.operations.pins()] == ["b"]
