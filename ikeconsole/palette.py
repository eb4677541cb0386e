"""The command palette: finds among all phrases the one that is being typed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.widgets import Input

from ikeconsole import phrases
from ikeconsole.phrases import Phrase

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp

PLACEHOLDER = "a command, as on the command line: drain SERVICE/SERVER, explain ADDRESS, sessions FILTER…"

_BEGUN, _TYPED = 1e6, 2e6
"""Scores above any of Textual's matcher: of a phrase that begins as typed, and of one that was typed whole."""


class Phrases(Provider):
    """Offers the phrases to Textual's palette."""

    _chosen = False

    async def discover(self) -> Hits:
        """What is offered before anything is typed."""
        for phrase in phrases.standing(self._console):
            yield DiscoveryHit(Content(phrase.words), self._runner(phrase), phrase.words, phrase.help)

    async def search(self, query: str) -> Hits:
        """What matches the words typed so far; what they make themselves comes first."""
        for phrase in phrases.typed(self._console, query):
            yield Hit(_TYPED, Content(phrase.words), self._runner(phrase), phrase.words, phrase.help)
        matcher = self.matcher(query)
        groups: list[Iterable[Phrase]] = [
            phrases.standing(self._console),
            phrases.about_servers(self._console),
            phrases.unfinished(self._console),
        ]
        for group in groups:
            for phrase in group:
                score = _BEGUN if phrase.words.startswith(query.lower()) else matcher.match(phrase.words)
                if score > 0:
                    yield Hit(score, matcher.highlight(phrase.words), self._runner(phrase), phrase.words, phrase.help)

    @property
    def _console(self) -> ConsoleApp:
        return cast("ConsoleApp", self.app)

    def _runner(self, phrase: Phrase) -> Callable[[], object]:
        """Runs a phrase in a worker, as it may wait for the operator; a second Enter in a hurry runs nothing more."""

        def run() -> None:
            if not self._chosen:
                self._chosen = True
                self._console.run_worker(phrase.run(), group="phrase")

        return run


class Palette(CommandPalette):
    """The palette, with the beginning of a command typed already."""

    def __init__(self, beginning: str = "") -> None:
        super().__init__([Phrases], placeholder=PLACEHOLDER)
        self._beginning = beginning

    def on_mount(self) -> None:
        """Begin to type."""
        if self._beginning:
            line = self.query_one(Input)
            line.value = self._beginning
            line.cursor_position = len(self._beginning)

    def _action_command_list(self, action: str) -> None:
        # Paging through a list that was filled but not drawn yet is an error in Textual.
        with suppress(KeyError):
            super()._action_command_list(action)

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Leave, as a `Modal` does: a second Enter must not take the next screen away."""
        return super().dismiss(result) if self.is_active else AwaitComplete()
