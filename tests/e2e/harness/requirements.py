"""What this machine must have before real IKE daemons can be tested in namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

CHARON = "/usr/sbin/charon-systemd"

_FILES = {
    "ip": "iproute2",
    "nft": "nftables",
    "cc": "gcc",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "sysctl": "procps",
    "ping": "iputils-ping",
    "pki": "strongswan-pki",
    "ike-scan": "ike-scan",
    CHARON: "charon-systemd",
    "/usr/lib/ipsec/plugins/libstrongswan-vici.so": "strongswan-swanctl",
    "/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so": "libcharon-extra-plugins",
    "/usr/lib/ipsec/plugins/libstrongswan-gcm.so": "libstrongswan-standard-plugins",
    "/usr/lib/ipsec/plugins/libstrongswan-curve25519.so": "libstrongswan-extra-plugins",
}


def missing() -> list[str]:
    """What is lacking, each as a phrase for the person who must supply it; empty: all is there."""
    if os.geteuid() != 0:
        return ["root"]
    lacking = [
        f"{program} (Debian package {package})"
        for program, package in _FILES.items()
        if not (shutil.which(program) or Path(program).exists())
    ]
    if not Path("/dev/net/tun").is_char_device():
        lacking.append("/dev/net/tun (kernel module tun)")
    if not lacking and not _can_make_namespaces():
        lacking.append("the right to make network namespaces")
    return lacking


def _can_make_namespaces() -> bool:
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
