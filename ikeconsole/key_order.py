"""Keys are handled one after the other, however fast they are typed or pasted."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Final

from textual import events, on
from textual.app import App
from textual.message import Message

HOPS: Final = 2
"""How often the widgets are gone through after a key: behind the key, and behind what was posted for its sake."""
PATIENCE_S: Final = 2.0
"""How long further keys wait for one; its widgets may have gone with it."""


class KeyByKeyApp(App[None]):
    """Textual gives every key it has read to the widget in focus at that time; here each waits for the one before.

    What is typed behind a Tab is so meant for the next field, even if all of it comes at once.
    """

    class Passed(Message):
        """It follows a key through the widgets, and has come to the application when they have dealt with the key."""

        def __init__(self, key: events.Event, hops: int) -> None:
            super().__init__()
            self.key = key
            self.hops = hops
            """How often it still has to go through them."""

    def __init__(self) -> None:
        super().__init__()
        self._key: events.Event | None = None
        """What is being handled."""
        self._keys_behind: deque[events.Event] = deque()

    @property
    def handling_keys(self) -> bool:
        """Whether what was typed is still being dealt with."""
        return self._key is not None

    async def on_event(self, event: events.Event) -> None:
        """Hold a key back while another one is handled."""
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
        elif self._key is None:
            await self._handle_key(event)
        else:
            if not self._keys_behind:
                self.set_timer(PATIENCE_S, partial(self._next_key, self._key))
            self._keys_behind.append(event)

    @on(Passed)
    def _went_through(self, message: Passed) -> None:
        if message.hops > 1:
            self._follow(message.key, message.hops - 1)
        else:
            # Behind what was put off for its sake, such as setting the focus.
            self.call_later(self._next_key, message.key)

    async def _handle_key(self, key: events.Event) -> None:
        self._key = key
        await super().on_event(key)
        self._follow(key, HOPS)

    def _follow(self, key: events.Event, hops: int) -> None:
        """Send a message the way of keys; a screen that is only just opened takes it when its widgets are there."""
        if not (self.focused or self.screen).post_message(self.Passed(key, hops)):
            self.call_later(self._next_key, key)

    async def _next_key(self, handled: events.Event) -> None:
        if self._key is handled:
            self._key = None
            if self._keys_behind:
                await self._handle_key(self._keys_behind.popleft())
