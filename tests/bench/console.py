"""The console measured: the real program on a pseudo terminal, beside real engines."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import trio

from engine.control.records import SessionQuery
from ikeconsole.client import connect
from ikeconsole.demo.layout import Layout, choose_ports

from . import console_latency
from .console_settings import ConsoleSettings
from .console_terminal import Size, Terminal, console
from .crowded_engine import write_configuration
from .measures import Values
from .report import Sample

SIZES = (Size(80, 24), Size(160, 48))
PLACES = {
    "overview": ("", "› overview"),
    "sessions": ("2", "› sessions"),
    "session": ("2\r", "› 127.0."),
    "servers": ("3", "› servers"),
    "server": ("j\r", "› rras-"),
    "services": ("4", "› services"),
    "events": ("5", "› events"),
}
"""The keys that lead to each place from the overview, and how one sees that one is there."""
SETTLE_S = 2.0
SORTS = ("idle", "client", "service", "server", "phase", "bytes_in", "bytes_out", "path", "why", "age")
"""In the order in which the sort key goes through them, with what follows last as first."""
LARGEST_FIRST = ("bytes_in", "bytes_out")
PAGE_DOWN = "\x1b[6~"
BETWEEN_KEYS_S = 0.05
BETWEEN_PLACES_S = 0.3
ROOT = Path(__file__).parents[2]

MEASURES = ("first-paint", "rest", "keys", "delay")


def run(settings: ConsoleSettings, measures: Sequence[str]) -> Iterator[Sample]:
    """Measure what is named, and yield the numbers as they come."""
    with tempfile.TemporaryDirectory(prefix="ikbench-console-") as name:
        directory = Path(name)
        if "first-paint" in measures:
            yield from _first_paint(settings, directory)
        if "rest" in measures:
            yield from _rest(settings, directory)
        if "keys" in measures:
            yield from _keys(settings, directory)
        if "delay" in measures:
            yield from console_latency.run(settings, directory)


def _first_paint(settings: ConsoleSettings, directory: Path) -> Iterator[Sample]:
    """From the start of the process to its first byte, and until a real server's name is on the screen."""
    with _world(directory, "still") as home:
        for size in SIZES:
            for number in range(1, settings.first_paints + 1):
                own = Path(tempfile.mkdtemp(dir=directory))
                Layout(own, *choose_ports()).write_configuration()
                for where, started_in in (("attached", home), ("in-process", own)):
                    with console(size, started_in, "-c", str(started_in / "config.toml")) as terminal:
                        painted_s = terminal.shown("rras-1") - terminal.started_s
                        first_byte_s = terminal.first_byte_s - terminal.started_s
                    values = {"first_byte_s": first_byte_s, "painted_s": painted_s}
                    yield Sample("first-paint", str(size), number, where, values)


def _rest(settings: ConsoleSettings, directory: Path) -> Iterator[Sample]:
    """CPU and output of consoles that nobody touches, one at each place at the same time."""
    for kind in ("still", "busy"):
        with _world(directory, kind) as home:
            for size in SIZES:
                with ExitStack() as stack:
                    command = ("-c", str(home / "config.toml"))
                    terminals = {place: stack.enter_context(console(size, home, *command)) for place in PLACES}
                    for place, terminal in terminals.items():
                        terminal.shown("rras-1")
                        keys, sign = PLACES[place]
                        for key in keys:
                            time.sleep(BETWEEN_PLACES_S)
                            terminal.press(key)
                        terminal.shown(sign)
                    time.sleep(SETTLE_S)
                    for place, values in _at_rest(terminals, settings.rest_s).items():
                        yield Sample("rest", f"{place}, {size}", 1, kind, values)


def _at_rest(terminals: dict[str, Terminal], duration_s: float) -> dict[str, Values]:
    def now() -> dict[str, tuple[float, float, int]]:
        return {name: (time.monotonic(), one.cpu_s(), one.size_bytes) for name, one in terminals.items()}

    before = now()
    time.sleep(duration_s)
    after = now()
    results = {}
    for name in terminals:
        elapsed_s, cpu_s, size_bytes = (late - early for early, late in zip(before[name], after[name], strict=True))
        results[name] = {"core_share": cpu_s / elapsed_s, "bytes_per_s": size_bytes / elapsed_s}
    return results


def _keys(settings: ConsoleSettings, directory: Path) -> Iterator[Sample]:
    """From a key press in the session list to what it leads to on the screen."""
    home = Path(tempfile.mkdtemp(dir=directory))
    configuration = write_configuration(home, *choose_ports())
    with _program("tests.bench.crowded_engine", str(configuration), str(settings.sessions)):
        clients = trio.run(_clients, home / "control.sock", settings)
        for size in SIZES:
            with console(size, home, "-c", str(configuration)) as terminal:
                terminal.shown("crowded")
                terminal.press("2")
                terminal.shown(clients["age"][1])
                time.sleep(SETTLE_S)
                for key, times_s in _press_all(terminal, clients, settings).items():
                    values = {
                        "median_ms": 1e3 * median(times_s),
                        "worst_ms": 1e3 * max(times_s),
                        "presses": len(times_s),
                    }
                    yield Sample("keys", f"{key}, {size}", 1, f"{settings.sessions} sessions", values)


def _press_all(terminal: Terminal, clients: dict[str, list[str]], settings: ConsoleSettings) -> dict[str, list[float]]:
    times_s: dict[str, list[float]] = {}

    def press(name: str, key: str, words: str) -> None:
        written = terminal.size_bytes
        pressed_s = terminal.press(key)
        times_s.setdefault(name, []).append(terminal.shown(words, since=written) - pressed_s)
        time.sleep(BETWEEN_KEYS_S)

    by_age, last = clients["age"], clients["last"][0]
    for row in range(1, settings.scrolls + 1):
        press("j: next row", "j", by_age[row])
    for _ in range(settings.jumps):
        press("G: last row", "G", last)
        press("g: first row", "g", by_age[0])
    lines = _page_length(terminal, by_age)
    for page in range(1, settings.scrolls + 1):
        press("page down", PAGE_DOWN, by_age[page * lines])
    for _ in range(settings.sort_rounds):
        for sort in SORTS:
            press("s: next sort", "s", clients[sort][0])
    return times_s


def _page_length(terminal: Terminal, by_age: Sequence[str]) -> int:
    """How many rows a page has: the last one shown after a page down from the first row tells."""
    written = terminal.size_bytes
    terminal.press(PAGE_DOWN)
    time.sleep(SETTLE_S)
    shown = terminal.text(written)
    terminal.press("g")
    time.sleep(SETTLE_S)
    return max(row for row, client in enumerate(by_age) if client in shown)


async def _clients(control_socket: Path, settings: ConsoleSettings) -> dict[str, list[str]]:
    """The clients that stand first by every sort, and last by age."""
    found = {}
    async with connect(control_socket) as engine:
        for sort in SORTS:
            query = SessionQuery(sort=sort, descending=sort in LARGEST_FIRST, limit=1000)
            found[sort] = [row.client for row in (await engine.sessions(query)).rows]
        page = await engine.sessions(SessionQuery(sort="age", offset=settings.sessions - 1, limit=1))
        found["last"] = [row.client for row in page.rows]
    return found


@contextmanager
def _world(directory: Path, kind: str) -> Iterator[Path]:
    """A demo world until the block ends; yields the directory of its configuration."""
    home = Path(tempfile.mkdtemp(dir=directory))
    with _program("tests.bench.demo_world", str(home), kind):
        yield home


@contextmanager
def _program(module: str, *arguments: str) -> Iterator[None]:
    """A program of the bench; the block starts when it is ready, and it ends with the block."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout
        try:
            if not child.stdout.readline():
                raise RuntimeError(f"{module} did not become ready: run {' '.join(command)}")
            yield
        finally:
            child.terminate()
