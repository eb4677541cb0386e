"""What is wrong with the way back of transparent services on this machine."""

from __future__ import annotations

from collections.abc import Iterator

from engine.net.transparent import MARK, NFT_TABLE, ROUTE_TABLE
from engine.net.upkeep import CONTESTED, Upkeep
from engine.telemetry.alarms import Finding


def return_path_findings(upkeep: Upkeep) -> Iterator[Finding]:
    """That it cannot be put back, or that somebody takes it away again and again."""
    if upkeep.failure and upkeep.unsure:
        yield Finding(
            "return-path-gone",
            "the kernel's part of the return path may have been taken away, and cannot be looked at: if so, clients of "
            "transparent services get no answers",
            f"{upkeep.failure}; it is tried again every few seconds",
        )
    elif upkeep.failure:
        yield Finding(
            "return-path-gone",
            "the kernel's part of the return path was taken away and cannot be put back: clients of transparent "
            "services get no answers, and new tunnels do not come up",
            f"{upkeep.failure}; it is tried again every few seconds",
        )
    elif (times := upkeep.restored_lately()) >= CONTESTED:
        yield Finding(
            "return-path-contested",
            f"the return path was taken away {times} times within a minute: each time clients of transparent services "
            "get no answers until it is put back",
            f"find out who does it: `nft monitor` (table inet {NFT_TABLE}), `ip monitor rule route` (fwmark {MARK}, "
            f"table {ROUTE_TABLE}); two engines with transparent services cannot share one machine",
        )
