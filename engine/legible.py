"""Text of others as a terminal may be given it: nothing in it is obeyed."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text of a peer or a file, as one line without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def legible(text: str) -> str:
    """Lines of a peer or a file, each without what a terminal would obey."""
    return "\n".join(printable(line) for line in text.expandtabs().split("\n"))
