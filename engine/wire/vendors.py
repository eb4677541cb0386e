"""Vendor id payloads: which product a peer says it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

KINDS_REMEMBERED: Final = 256
"""Of sets of vendor ids: a hundred thousand clients send a handful between them."""

_WINDOWS: Final = bytes.fromhex("1e2b516905991c7d7c96fcbfb587e461")
_WINDOWS_RELEASES: Final = {7: "Windows 7", 8: "Windows 7", 9: "Windows 8+"}
"""By the version behind the id, of those that speak IKEv2; a server says what the client of its age says."""
_LIBRESWAN: Final = re.compile(rb"OE-Libreswan-(\d{1,4}(?:\.\d{1,4}){0,3})?")
_MARKS: Final = [
    (bytes.fromhex("882fe56d6fd20dbc2251613b2ebe5beb"), "strongSwan"),
    (bytes.fromhex("4c53427b6d465d1b337bb755a37a7fef"), "FortiClient"),
    (bytes.fromhex("b4f01ca951e9da8d0bafbbd34ad3044e"), "FortiClient"),
    (bytes.fromhex("8299031757a36082c6a621de"), "FortiGate"),
    (bytes.fromhex("f4ed19e0c114eb516faaac0ee37daf2807b4381f"), "Check Point"),
    (bytes.fromhex("699369228741c6d4ca094c93e242c9de19e7b7c6"), "Juniper"),
    (bytes.fromhex("2a2bcac19b8e91b426107807e02e7249569d6fd3"), "Juniper"),
    (bytes.fromhex("166f932d55eb64d8e4df4fd37e2313f0d0fd8451"), "Juniper"),
    (bytes.fromhex("5b362bc820f6"), "SonicWall"),
    (b"CISCO", "Cisco"),
    (b"FLEXVPN-SUPPORTED", "Cisco"),
    (bytes.fromhex("fb1de3cdf341b7ea16b7e5be0855f120"), "Windows"),
    (bytes.fromhex("26244d38eddb61b3172a36e3d0cfb819"), "Windows"),
]
"""First bytes of a vendor id, and whose it is; the surest first.

As the sources of strongSwan (`ike_vendor.c`), the list of ike-scan (`ike-vendor-ids`) and FortiGate's logs have them.
"""


def vendor_name(vendor_ids: Iterable[bytes]) -> str:
    """Name the peer by its vendor ids, such as "Windows 8+ (MS NT5 ISAKMPOAKLEY v9)"; empty when unknown.

    Many peers send none: Apple's never do, strongSwan only when told to.
    """
    return _name(tuple(vendor_ids))


@lru_cache(KINDS_REMEMBERED)
def _name(vendor_ids: tuple[bytes, ...]) -> str:
    return next(_names(vendor_ids), "")


def _names(vendor_ids: tuple[bytes, ...]) -> Iterator[str]:
    """Yield every name that fits, the most telling first."""
    for vendor_id in vendor_ids:
        if vendor_id.startswith(_WINDOWS):
            yield _windows(vendor_id[len(_WINDOWS) :])
        elif libreswan := _LIBRESWAN.match(vendor_id):
            yield f"Libreswan {(libreswan[1] or b'').decode('ascii')}".rstrip()
    for mark, name in _MARKS:
        if any(vendor_id.startswith(mark) for vendor_id in vendor_ids):
            yield name


def _windows(version: bytes) -> str:
    number = int.from_bytes(version) if len(version) == 4 else 0
    release = _WINDOWS_RELEASES.get(number, "Windows")
    return f"{release} (MS NT5 ISAKMPOAKLEY{f' v{number}' if number else ''})"
