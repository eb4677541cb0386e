"""An engine on a thread: what tells that it began and ended, and that nothing waits for it for ever."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import pytest
import trio
from pty_shell import status
from running_engine import service, write_config

from engine.config.load import load
from ikeconsole.process import hosting
from ikeconsole.process.hosting import Hosted
from ikeconsole.process.notices import Notice

DEADLINE_S = 10.0


@pytest.fixture
def told() -> queue.SimpleQueue[Notice]:
    return queue.SimpleQueue()


def hosted(directory: Path, told: queue.SimpleQueue[Notice]) -> Hosted:
    write_config(directory / "config.toml", service())
    one = Hosted(load(directory / "config.toml"), told.put)
    one.start()
    return one


def test_it_tells_that_it_began_answers_and_tells_that_it_ended(
    tmp_path: Path, told: queue.SimpleQueue[Notice]
) -> None:
    engine = hosted(tmp_path, told)
    assert told.get(timeout=DEADLINE_S) == Notice.ENGINE_READY
    assert status(engine.control_socket).services[0].name == "vpn"
    engine.stop()
    assert told.get(timeout=DEADLINE_S) == Notice.ENGINE_ENDED
    assert engine.ended
    assert engine.failure is None
    assert not engine.control_socket.exists()
    engine.stop()


def test_a_start_that_fails_is_told_with_its_reason(tmp_path: Path, told: queue.SimpleQueue[Notice]) -> None:
    (tmp_path / "control.sock").write_text("in the way")
    engine = hosted(tmp_path, told)
    assert told.get(timeout=DEADLINE_S) == Notice.ENGINE_ENDED
    assert "control.sock is not a socket" in engine.reason


def test_an_engine_that_does_not_stop_is_given_up(
    tmp_path: Path, told: queue.SimpleQueue[Notice], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()

    async def stubborn(*_arguments: object, **_options: object) -> None:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(may_end.wait)

    monkeypatch.setattr(hosting, "serve_forever", stubborn)
    monkeypatch.setattr(hosting, "STOP_DEADLINE_S", 0.1)
    engine = hosted(tmp_path, told)
    engine.stop()
    assert engine.ended
    assert "did not stop" in engine.reason
    may_end.set()
    assert told.get(timeout=DEADLINE_S) == Notice.ENGINE_ENDED
