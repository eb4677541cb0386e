"""This machine's own address on the way to real servers, as its routing table has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from engine.advise import routes
from engine.advise.routes import Route, routes_to


@pytest.mark.trio
async def test_each_address_has_its_own_way_and_those_without_one_are_left_out() -> None:
    found = await routes_to(["127.0.0.1", "127.0.0.9", "127.0.0.1", "no address"])
    assert found == {"127.0.0.1": Route("127.0.0.1", "", "lo"), "127.0.0.9": Route("127.0.0.1", "", "lo")}


@pytest.mark.trio
async def test_the_way_from_an_address_of_one_s_own_is_asked_for_with_it() -> None:
    assert await routes_to(["127.0.0.9"], source="127.0.0.7") == {"127.0.0.9": Route("127.0.0.7", "", "lo")}
    assert await routes_to(["127.0.0.9"], source="192.0.2.77") == {}


@pytest.mark.trio
async def test_without_the_tool_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert await routes_to(["127.0.0.1"]) == {}


@pytest.mark.trio
async def test_a_tool_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is ended too."""
    stuck, noted = tmp_path / "ip", tmp_path / "pid"
    stuck.write_text(f"#!/bin/sh\necho $$ >{noted}\nexec sleep 60\n")
    stuck.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(routes, "PATIENCE_S", 2.0)
    with trio.fail_after(10):
        assert await routes_to(["127.0.0.1"]) == {}
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)
