"""A certificate authority, and credentials of the sizes that matter to a balancer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from harness.namespaces import run

SERVER_IDENTITY = "vpn.example.test"


class KeyKind(StrEnum):
    """ECDSA makes IKE_AUTH fit one packet; RSA of 4096 bits makes it outgrow one."""

    ECDSA = "ecdsa"
    RSA = "rsa"


def _pki(*argv: str) -> str:
    return run(["pki", *argv, "--outform", "pem"])


@dataclass(slots=True)
class Authority:
    """Issues certificates; one key of a kind serves all, because a long RSA key takes a second to make."""

    directory: Path
    certificate: str = field(init=False)
    _issued: dict[tuple[str, KeyKind], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, size_bits in ((KeyKind.ECDSA, "256"), (KeyKind.RSA, "4096")):
            self._key_path(kind).write_text(_pki("--gen", "--type", kind, "--size", size_bits))
        self.certificate = _pki(
            *("--self", "--ca", "--dn", "CN=End-to-end CA"),
            *("--type", "priv", "--in", str(self._key_path(KeyKind.ECDSA))),
        )
        self._ca_path.write_text(self.certificate)

    @property
    def _ca_path(self) -> Path:
        return self.directory / "ca.pem"

    def _key_path(self, kind: KeyKind) -> Path:
        return self.directory / f"{kind}.key"

    def key(self, kind: KeyKind) -> str:
        """The private key of that kind, PEM."""
        return self._key_path(kind).read_text()

    def issue(self, identity: str, kind: KeyKind) -> str:
        """A certificate for an identity, PEM."""
        if (identity, kind) not in self._issued:
            self._issued[identity, kind] = _pki(
                *("--issue", "--cacert", str(self._ca_path), "--cakey", str(self._key_path(KeyKind.ECDSA))),
                *("--type", "priv", "--in", str(self._key_path(kind))),
                *("--dn", f"CN={identity}", "--san", identity),
            )
        return self._issued[identity, kind]
