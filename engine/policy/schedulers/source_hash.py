"""source-hash: a client's address decides, by weighted rendezvous."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import inf, log

from engine.policy.candidate import Candidate, weighted


class SourceHash:
    """Every server draws a lot for the client from a keyed hash; the best lot for its weight wins.

    Rendezvous rather than a table: a server that leaves moves its own clients and no others, one that comes
    takes only what becomes its own, exactly by weight, with nothing to build or keep. The price is one hash
    a server and session, about a microsecond each: small beside an IKE handshake.
    Lots go by the configured weight: a slow start would move clients for as long as it lasts.
    """

    def __init__(self, key: bytes) -> None:
        self._keyed = blake2b(digest_size=8, key=key)

    def choose(self, candidates: Sequence[Candidate], client: bytes) -> Candidate | None:
        """The server with the best lot."""
        of_client = self._keyed.copy()
        of_client.update(client)
        best, best_lot = None, inf
        for server in weighted(candidates):
            lot = _lot(server, of_client.copy())
            if lot < best_lot:
                best, best_lot = server, lot
        return best

    peek = choose


def _lot(server: Candidate, of_client: blake2b) -> float:
    """An exponential variate with the weight as its rate: the chance to be smallest is w over the sum."""
    of_client.update(server.name.encode())
    uniform = (int.from_bytes(of_client.digest()) + 1) * 2**-64
    return -log(uniform) / server.weight
