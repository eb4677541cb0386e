"""Vendor id payloads: which product a peer says it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

_WINDOWS: Final = bytes.fromhex("1e2b516905991c7d7c96fcbfb587e461")
_MARKS: Final = [
    (bytes.fromhex("882fe56d6fd20dbc2251613b2ebe5beb"), "strongSwan"),
    (bytes.fromhex("8299031757a36082c6a621de"), "FortiGate"),
    (bytes.fromhex("f4ed19e0c114eb516faaac0ee37daf2807b4381f"), "Check Point"),
    (b"OE-Libreswan-", "Libreswan"),
    (b"CISCO", "Cisco"),
    (b"FLEXVPN-SUPPORTED", "Cisco"),
    (bytes.fromhex("fb1de3cdf341b7ea16b7e5be0855f120"), "Windows"),
    (bytes.fromhex("26244d38eddb61b3172a36e3d0cfb819"), "Windows"),
]
"""First bytes of a vendor id, and whose it is; the surest first."""


def vendor_name(vendor_ids: Iterable[bytes]) -> str:
    """Name the peer by its vendor ids, such as "Windows (MS NT5 ISAKMPOAKLEY v9)"; empty when unknown.

    Many peers send none: strongSwan only when told to.
    """
    return next(_names(list(vendor_ids)), "")


def _names(vendor_ids: list[bytes]) -> Iterator[str]:
    """Yield every name that fits, the most telling first."""
    for vendor_id in vendor_ids:
        if vendor_id.startswith(_WINDOWS):
            version = vendor_id[len(_WINDOWS) :]
            number = f" v{int.from_bytes(version)}" if len(version) == 4 else ""
            yield f"Windows (MS NT5 ISAKMPOAKLEY{number})"
    for mark, name in _MARKS:
        if any(vendor_id.startswith(mark) for vendor_id in vendor_ids):
            yield name
