"""What is read of a capture: each message decoded, and how many were lost before it."""

from __future__ import annotations

from dataclasses import dataclass

from engine.capture.decoding import Decoded, decode
from engine.control.captured import Captured, CapturedMessage
from engine.wording import count, grouped


@dataclass(frozen=True, slots=True)
class ReadMessage:
    """One message, and how many that came before it were lost."""

    message: CapturedMessage
    decoded: Decoded
    lost_before: int


class CaptureReader:
    """Knows from the numbers of the messages which are missing."""

    def __init__(self) -> None:
        self.read = 0
        self.lost = 0

    def take(self, captured: Captured) -> list[ReadMessage]:
        """The messages that came, the oldest first."""
        taken = []
        for message in captured.messages:
            lost_before = self._notice(message.number - 1)
            self.read += 1
            taken.append(ReadMessage(message, decode(message.data, message.port == "nat-t"), lost_before))
        if captured.ended:
            self._notice(captured.seen)
        return taken

    def summary(self) -> str:
        """How many messages there were: 12 messages, none lost."""
        return f"{count(self.read, 'message')}, {grouped(self.lost) if self.lost else 'none'} lost"

    def _notice(self, seen: int) -> int:
        """How many more are missing, when so many have been there."""
        missing = seen - self.read - self.lost
        self.lost += missing
        return missing
