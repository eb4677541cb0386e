"""A flood of first messages as the running engine sees it: told in events, alarms and status, and over by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from running_engine import CLIENT, OTHER_CLIENT, service, until, world
from vpn_peers import Client


async def begin(client: Client, sessions: int) -> None:
    """Begin new IKE SAs and wait for no answer."""
    for _ in range(sessions):
        await client.send_init()


@pytest.mark.trio
async def test_a_flood_is_told_and_new_clients_are_asked_for_cookies(tmp_path: Path) -> None:
    """The tunnel that is up goes on; the alarm stands while it lasts."""
    async with world(tmp_path, service(cookie_threshold=5)) as made:
        engine = made.engine
        tunnel = await made.connected(OTHER_CLIENT)
        assert not engine.service().challenge.active
        await begin(made.client(CLIENT), 20)
        event = await engine.event("flood")
        assert event.severity == "warning"
        assert event.text.startswith("vpn: a flood of new IKE SAs")
        challenge = engine.service().challenge
        assert challenge.active
        assert challenge.flood_since_at is not None
        assert challenge.sent == 20 - engine.service().half_open > 0
        (alarm,) = [alarm for alarm in engine.operations.status().alarms if alarm.kind == "flood"]
        assert alarm.place == "service"
        await tunnel.echo()
        await engine.reload(service(cookie_threshold=5, cookie_challenge="off"))
        await until(lambda: not engine.service().challenge.active)
