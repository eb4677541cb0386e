"""Keeps the demo going in a thread of its own, so that a terminal that stops reading stops nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any

import trio

from ikeconsole.demo.layout import Layout
from ikeconsole.demo.scenario import perform
from ikeconsole.process.turns import quick_turns


@contextmanager
def running(layout: Layout) -> Iterator[None]:
    """Have engine, real servers and clients at work while the block runs; raises what stopped them early."""
    stop: Future[Callable[[], None]] = Future()
    with quick_turns(), ThreadPoolExecutor(1, thread_name_prefix="demo") as executor:
        work = executor.submit(trio.run, _perform, layout, stop)
        either: list[Future[Any]] = [stop, work]
        wait(either, return_when=FIRST_COMPLETED)
        try:
            if stop.done():
                yield
        finally:
            if stop.done():
                stop.result()()
            work.result()


async def _perform(layout: Layout, stop: Future[Callable[[], None]]) -> None:
    token = trio.lowlevel.current_trio_token()
    with trio.CancelScope() as scope:

        def stop_soon() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(scope.cancel)

        await perform(layout, on_start=lambda: stop.set_result(stop_soon))
