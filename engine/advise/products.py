"""Which product a real server is, as its answers to IKE_SA_INIT tell in clear."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from engine.wire.errors import WireError
from engine.wire.notifies import NotifyType
from engine.wire.payloads import Message, parse_message
from engine.wire.vendors import vendor_name


class Product(Enum):
    """What decides which commands are of use on a peer."""

    UNKNOWN = auto()
    """It may be either of the next two."""
    WINDOWS = auto()
    STRONGSWAN = auto()
    OTHER = auto()
    """Known to be neither of them."""


def product_of(messages: Iterable[bytes]) -> Product:
    """The product that sent these IKE_SA_INIT messages, the latest last; one that cannot be told counts for nothing."""
    known = [product for product in map(_product, messages) if product is not Product.UNKNOWN]
    return known[-1] if known else Product.UNKNOWN


def _product(data: bytes) -> Product:
    try:
        message = parse_message(data)
    except WireError:
        return Product.UNKNOWN
    name = vendor_name(message.vendor_ids)
    if name.startswith("Windows"):
        return Product.WINDOWS
    if name == "strongSwan" or _answers_as_strongswan(message):
        return Product.STRONGSWAN
    return Product.OTHER if name else Product.UNKNOWN


def _answers_as_strongswan(message: Message) -> bool:
    """strongSwan names itself only when told to, but answers with these two (seen of 5.9.8), and Windows does not."""
    return (
        message.header.response
        and message.notify(NotifyType.CHILDLESS_IKEV2_SUPPORTED) is not None
        and message.notify(NotifyType.MULTIPLE_AUTH_SUPPORTED) is not None
    )
