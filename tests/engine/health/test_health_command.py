"""The exec probe with real programs."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest
import trio
import trio.testing

from engine.config.schema import Duration, Health, HealthKind
from engine.health import command
from engine.health.result import ProbeResult, ProbeTarget

TARGET = ProbeTarget("rras-1", "10.0.0.11", 500, None)


def running(*arguments: str) -> Health:
    return Health(type=HealthKind.EXEC, command=list(arguments), timeout_s=Duration(30))


def shell(script: str) -> Health:
    return running("/bin/sh", "-c", script)


@pytest.mark.trio
async def test_status_zero_is_up() -> None:
    """A program that ends well is a server that is up, and what it says is the reason."""
    result = await command.probe(TARGET, shell("echo all well; echo more"))
    assert (result.ok, result.reason) == (True, "all well")
    assert result.rtt_s is not None


@pytest.mark.trio
async def test_other_status_is_down_with_its_first_line() -> None:
    """The status and the first line, also of stderr, reach the operator."""
    result = await command.probe(TARGET, shell("echo certificate expired >&2; exit 3"))
    assert (result.ok, result.reason, result.rtt_s) == (False, "exit 3: certificate expired", None)


@pytest.mark.trio
async def test_signal_is_down() -> None:
    """A program that crashes is told from one that says no."""
    result = await command.probe(TARGET, shell("kill -SEGV $$"))
    assert (result.ok, result.reason) == (False, "killed by signal 11")


@pytest.mark.trio
async def test_arguments_are_filled_in_without_a_shell() -> None:
    """{address} and {name} are replaced; what else a shell or a format would expand stays as it is."""
    result = await command.probe(TARGET, running("/bin/echo", "{name}@{address}", "$HOME", "{0}", ";"))
    assert result.reason == "rras-1@10.0.0.11 $HOME {0} ;"


@pytest.mark.trio
async def test_missing_program_is_named() -> None:
    """A path that leads nowhere is a clear reason, not a crash."""
    result = await command.probe(TARGET, running("/nonexistent/check", "{address}"))
    assert (result.ok, result.reason) == (False, "cannot run /nonexistent/check: no such program")


@pytest.mark.trio
async def test_file_without_execute_permission_is_named(tmp_path: Path) -> None:
    """A script that nobody made executable is a clear reason."""
    script = tmp_path / "check"
    script.write_text("#!/bin/sh\n")
    result = await command.probe(TARGET, running(str(script)))
    assert (result.ok, result.reason) == (False, f"cannot run {script}: not executable")


@pytest.mark.trio
async def test_flood_of_output_is_drained_and_bounded() -> None:
    """Megabytes of output neither block the program nor fill the engine's memory or the reason."""
    result = await command.probe(TARGET, shell("head -c 3000000 /dev/zero | tr '\\0' x; exit 1"))
    assert not result.ok
    assert result.reason == "exit 1: " + "x" * 200


@pytest.mark.trio
async def test_terminal_escapes_do_not_reach_the_console() -> None:
    """Control characters in the output are left out of the reason."""
    result = await command.probe(TARGET, shell(r"printf '\033[31mred\007\n'; exit 1"))
    assert result.reason == "exit 1: [31mred"


@pytest.mark.trio
async def test_timeout_kills_the_whole_group(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    """At the timeout the program and what it started in the background are both gone."""
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    found: list[ProbeResult] = []

    async def probe() -> None:
        script = f"exec 9>{fifo}; sleep 600 & echo ready >&9; wait"
        found.append(await command.probe(TARGET, shell(script)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(probe)
        alive = await trio.to_thread.run_sync(os.open, fifo, os.O_RDONLY)
        try:
            assert await trio.to_thread.run_sync(os.read, alive, 100) == b"ready\n"
            mock_clock.jump(31)
            while not found:
                await trio.lowlevel.checkpoint()
            # End of file: no process of the group holds the other end open any more.
            ready, _, _ = await trio.to_thread.run_sync(select.select, [alive], [], [], 10)
            assert ready
            assert os.read(alive, 100) == b""
        finally:
            os.close(alive)
    assert not found[0].ok
    assert found[0].reason == "/bin/sh did not end in 30s"
