"""The exec probe: a program of the operator's own, up when it ends with status 0."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

import trio

from engine.config.schema import Health
from engine.health.connect import failure
from engine.health.result import ProbeResult, ProbeTarget

_KEPT_BYTES = 4096
_REASON_CHARACTERS = 200


async def probe(target: ProbeTarget, health: Health) -> ProbeResult:
    """Run the command without a shell; {address} and {name} in its arguments are filled in.

    It is over when it has ended and everything it started has closed the output. At the timeout its
    whole process group is killed.
    """
    arguments = [_fill_in(argument, target) for argument in health.command]
    asked_s = trio.current_time()
    with trio.move_on_after(health.timeout_s):
        try:
            status, output = await _run(arguments)
        except FileNotFoundError:
            return ProbeResult(ok=False, reason=f"cannot run {arguments[0]}: no such program", rtt_s=None)
        except PermissionError:
            return ProbeResult(ok=False, reason=f"cannot run {arguments[0]}: not executable", rtt_s=None)
        except OSError as error:
            return failure(error, target.address, arguments[0])
        rtt_s = trio.current_time() - asked_s if status == 0 else None
        return ProbeResult(ok=status == 0, reason=_reason(status, output), rtt_s=rtt_s)
    return ProbeResult(ok=False, reason=f"{arguments[0]} did not end in {health.timeout_s:g}s", rtt_s=None)


def _fill_in(argument: str, target: ProbeTarget) -> str:
    return argument.replace("{address}", target.address).replace("{name}", target.name)


async def _run(arguments: list[str]) -> tuple[int, bytes]:
    """Run a program in a session of its own; return its status and the beginning of what it said."""
    process = await trio.lowlevel.open_process(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with process.stdout as stream:
            output = await _beginning(stream)
        # Only now: until it is waited for, its process group's number cannot pass to anyone else.
        return await process.wait(), output
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()
        raise


async def _beginning(stream: trio.abc.ReceiveStream) -> bytes:
    """Read to the end, so that the writer never blocks, and keep only the first bytes."""
    kept = b""
    async for chunk in stream:
        kept += chunk[: _KEPT_BYTES - len(kept)]
    return kept


def _reason(status: int, output: bytes) -> str:
    """Word how it ended, with the first line it said; what a terminal would obey is left out."""
    text = output.decode("utf-8", "replace").strip()
    line = "".join(c for c in text.partition("\n")[0] if c.isprintable())[:_REASON_CHARACTERS].strip()
    if status == 0:
        return line or "exit 0"
    ending = f"killed by signal {-status}" if status < 0 else f"exit {status}"
    return f"{ending}: {line}" if line else ending
