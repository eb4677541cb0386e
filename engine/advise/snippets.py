"""Commands and settings to copy, in the languages of the products they are for."""

from __future__ import annotations

from collections.abc import Callable

from engine.advise.products import Product
from engine.control.records import Snippet


def powershell(name: str, text: str) -> Snippet:
    """Commands for a Windows server."""
    return Snippet(language="powershell", where=f"on {name}, as administrator", text=text)


def swanctl(where: str, text: str) -> Snippet:
    """A part of strongSwan's configuration; `where`: in which file, whose."""
    return Snippet(language="swanctl", where=where, text=text)


def shell(name: str, text: str) -> Snippet:
    """Commands for a Linux machine."""
    return Snippet(language="shell", where=f"on {name}, as root", text=text)


def toml(service: str, text: str) -> Snippet:
    """A part of the engine's own configuration."""
    return Snippet(language="toml", where=f"here, in config.toml, service {service}", text=text)


def fitting(product: Product, windows: Callable[[], Snippet], linux: Callable[[], Snippet]) -> list[Snippet]:
    """The snippets that can be of use on a real server of this product: both where that is not known."""
    match product:
        case Product.WINDOWS:
            return [windows()]
        case Product.STRONGSWAN:
            return [linux()]
        case Product.UNKNOWN:
            return [windows(), linux()]
        case Product.OTHER:
            return []
