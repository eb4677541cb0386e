"""The filter line: `server:rras-1 phase:auth 203.0.113.0/24 idle>60s !pinned`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from engine.sessions.query import PATHS, PHASES, UNTOLD, BadQuery, Filter, Test, any_of, make_test, none_of

MAX_WORDS = 32
"""Each is looked at for every session."""

_NAMING = ("server", "service", "phase", "client", "vendor", "error", "spi", "path", "why")
_COMPARING = ("idle", "age", "in", "out")
_FLAGS = ("pinned",)
_BEGINNINGS = (
    *(f"{key}:" for key in _NAMING),
    *(f"{key}{sign}" for key in _COMPARING for sign in "><"),
    *_FLAGS,
)
_SPANS = ("60s", "5m", "1h")
_SIZES = ("100k", "10M", "1G")
_VALUES: dict[str, Sequence[str]] = {
    "phase": PHASES,
    "vendor": ("windows", "strongswan", "cisco", "fortigate", "libreswan", UNTOLD),
    "error": ("*", "no_proposal_chosen", "invalid_ke_payload", "invalid_ike_spi", "ike_auth"),
    "path": PATHS,
    "why": ("persistence", "scheduled", "following", "spi", "pinned"),
    "idle": _SPANS,
    "age": _SPANS,
    "in": _SIZES,
    "out": _SIZES,
}
_WORD = re.compile(r"\S+")
_ADDRESS = re.compile(r"[0-9A-Fa-f.:/*]+(%.*)?")
_COMPARISON = re.compile(r"([^<>]*)([<>])(.*)", re.DOTALL)


class BadWord(BadQuery):
    """A word of a filter line that makes no sense; the message quotes it and says what to write instead."""

    def __init__(self, word: str, start: int, why: str) -> None:
        super().__init__(f"{word}: {why}")
        self.start = start
        """Where the word begins in the line, in characters."""
        self.end = start + len(word)


@dataclass(frozen=True, slots=True)
class Completion:
    """What may stand in a filter line in place of the characters from `start` to `end`."""

    start: int
    end: int
    words: tuple[str, ...]


def parse(line: str) -> Filter:
    """The conditions of a filter line, all of which must hold; of several with one key it is enough that one does.

    A word is `key:value`, `key>value`, `key<value`, `pinned`, an address or a prefix; after a ! it must not hold.

    Raises:
        BadWord: a word is no condition.
    """
    wanted: dict[str, list[Test]] = {}
    unwanted: list[Test] = []
    for number, (start, word) in enumerate(_words(line)):
        if number >= MAX_WORDS:
            raise BadWord(word, start, f"a filter has at most {MAX_WORDS} conditions: leave some out")
        negated = word.startswith("!")
        try:
            key, value = _split(word.removeprefix("!"))
            test = make_test(key, value)
        except BadQuery as error:
            raise BadWord(word, start, str(error)) from None
        if negated:
            unwanted.append(test)
        else:
            wanted.setdefault(key, []).append(test)
    return Filter((*map(any_of, wanted.values()), *([none_of(unwanted)] if unwanted else [])))


def complete(line: str, cursor: int, names: Mapping[str, Sequence[str]]) -> Completion:
    """What the word before the cursor may become; `names` has the known values of server and service."""
    start, end = cursor, cursor
    for begin, word in _words(line):
        if begin < cursor <= begin + len(word):
            start, end = begin, begin + len(word)
    begun = line[start:cursor]
    negation = "!" if begun.startswith("!") else ""
    begun = begun.removeprefix("!").lower()
    key = re.split("[:<>]", begun, maxsplit=1)[0]
    offered: Sequence[str] = _BEGINNINGS
    if key != begun:
        asked = begun[: len(key) + 1]
        offered = [f"{asked}{value}" for value in (*names.get(key, ()), *_VALUES.get(key, ())) if asked in _BEGINNINGS]
    matching = (f"{negation}{word}" for word in offered if word.lower().startswith(begun) and word.lower() != begun)
    return Completion(start, end, tuple(dict.fromkeys(matching)))


def _words(line: str) -> Iterator[tuple[int, str]]:
    return ((found.start(), found[0]) for found in _WORD.finditer(line))


def _split(word: str) -> tuple[str, str]:
    """Key and value of a word without its negation; raises BadQuery."""
    key, colon, value = word.partition(":")
    key = key.lower()
    if colon and key in _NAMING:
        return key, value
    if key in _FLAGS and not colon:
        return key, ""
    if compared := _COMPARISON.fullmatch(word):
        key = compared[1].lower()
        if key in _COMPARING:
            return f"{key}{compared[2]}", compared[3]
        raise BadQuery(f"what can be compared is {', '.join(_COMPARING)}: write for example idle>60s or in>100M")
    if key in _COMPARING:
        raise BadQuery(f"write {key}> or {key}< and a bound, for example {key}>{_VALUES[key][0]}")
    if key in _NAMING:
        raise BadQuery(f"write {key}: and what it is to be")
    if _may_be_address(word):
        return "client", word
    if colon:
        raise BadQuery(f"there is no key {key!r}: write one of {', '.join(_NAMING)}")
    raise BadQuery(f"write an address, or a condition that begins with one of {' '.join(_BEGINNINGS)}")


def _may_be_address(word: str) -> bool:
    return _ADDRESS.fullmatch(word) is not None and any(sign in word for sign in ".:/")
