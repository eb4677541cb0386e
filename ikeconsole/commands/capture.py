"""capture: a client's IKE messages as they pass, decoded or as a pcap file."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import BinaryIO

from engine.capture import pcap
from engine.control import calls
from ikeconsole.capture_reader import CaptureReader, ReadMessage
from ikeconsole.client import ControlClient
from ikeconsole.commands.asking import ask
from ikeconsole.commands.output import add_json, print_json, terminal
from ikeconsole.exits import Exit, Failure
from ikeconsole.render.capture import captured_line
from ikeconsole.unwritable import unwritable

STDOUT = "-"


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """Which client, how long, and where to."""
    limits = calls.Capture(client="")
    parser.add_argument("client", metavar="ADDR", help="the client's address, or a prefix: 198.51.100.0/24")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=limits.seconds,
        metavar="N",
        help=f"end after N seconds ({limits.seconds:.0f})",
    )
    parser.add_argument(
        "--packets",
        type=_packets,
        default=limits.messages,
        metavar="N",
        help=f"end after N messages ({limits.messages})",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE.pcap",
        help="also write a new file for Wireshark; - writes it to standard output instead of text",
    )
    parser.add_argument(
        "--side",
        type=pcap.Side,
        choices=list(pcap.Side),
        default=pcap.Side.CLIENT,
        help="whose addresses the packets in the file have: between client and service (client), "
        "or between balancer and real server (server)",
    )
    add_json(parser)


def execute(options: Namespace) -> int:
    """Show what is captured until its limit or an interrupt."""
    call = calls.Capture(client=options.client, seconds=options.seconds, messages=options.packets)
    with _output(options.output) as file:
        reading = _Reading(options, file)
        ended = "interrupted"
        try:
            with suppress(KeyboardInterrupt):
                ended = ask(options, lambda client: reading.run(client, call), invalid=Exit.USAGE)
        except Failure:
            if reading.reader.read:
                reading.sum_up("cut short")
            raise
        reading.sum_up(ended)
    return Exit.OK


class _Reading:
    """Prints and writes what is captured."""

    def __init__(self, options: Namespace, file: BinaryIO | None) -> None:
        self.reader = CaptureReader()
        self._as_json = options.json
        self._silent = options.output == STDOUT
        self._side: pcap.Side = options.side
        self._file = file
        self._console = terminal()

    async def run(self, client: ControlClient, call: calls.Capture) -> str:
        """Follow the capture to its end; returns why it ended."""
        ended = ""
        async with aclosing(client.capture(call)) as batches:
            async for captured in batches:
                for read in self.reader.take(captured):
                    self._write(read)
                    self._show(read)
                if self._file is not None:
                    self._file.flush()
                ended = captured.ended
        return ended

    def sum_up(self, ended: str) -> None:
        """Say what it came to, beside the output proper, and why it ended."""
        print(f"{self.reader.summary()}; {ended}", file=sys.stderr)

    def _write(self, read: ReadMessage) -> None:
        if self._file is not None:
            self._file.write(pcap.record(read.message, self._side))

    def _show(self, read: ReadMessage) -> None:
        if self._silent:
            return
        if self._as_json:
            print_json(read, one_line=True)
        else:
            # A long line is the terminal's to wrap, so that it stays one line for copy and grep.
            self._console.print(captured_line(read), soft_wrap=True)


@contextmanager
def _output(name: str | None) -> Iterator[BinaryIO | None]:
    """The file to write, which must be new and is for its owner alone; raises `Failure`."""
    match name:
        case None:
            yield None
        case "-":
            yield _begun(sys.stdout.buffer)
        case _:
            try:
                descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                raise Failure(Exit.FAILED, f"{name} is there already: remove it, or name another file") from None
            except OSError as error:
                raise Failure(Exit.FAILED, f"{name} cannot be written: {unwritable(error, name)}") from error
            with os.fdopen(descriptor, "wb") as file:
                start = _begun(file).tell()
                try:
                    yield file
                except Failure:
                    # A file without a packet would only be in the way of the next try.
                    if file.tell() == start:
                        os.unlink(name)
                    raise


def _begun(file: BinaryIO) -> BinaryIO:
    """Have the beginning of the file out at once: whoever reads along waits for it."""
    file.write(pcap.file_header())
    file.flush()
    return file


def _seconds(text: str) -> float:
    return _checked(text, float, calls.MAX_CAPTURE_S)


def _packets(text: str) -> int:
    return int(_checked(text, int, calls.MAX_CAPTURE_MESSAGES))


def _checked(text: str, kind: type[int] | type[float], most: int) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = 0
    if not 0 < number <= most:
        raise ArgumentTypeError(f"write a number from 1 to {most}, not {text!r}")
    return number
