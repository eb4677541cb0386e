"""The engine with the capabilities that its systemd unit gives it, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest
from harness.fast_path import check_fast, start
from harness.lab import Lab
from harness.peers import Profile
from harness.plan import Family

pytestmark = pytest.mark.e2e

UNIT = Path(__file__).parents[2] / "packaging" / "ikeconsole.service"


def rights() -> list[str]:
    """A command that starts another as the unit says; being root alone means nothing then."""
    unit = ConfigParser(strict=False, interpolation=None)
    unit.read(UNIT)
    given = unit["Service"]["AmbientCapabilities"]
    assert given == unit["Service"]["CapabilityBoundingSet"]
    names = [name.removeprefix("CAP_").lower() for name in given.split()]
    only = ",".join(["-all", *(f"+{name}" for name in names)])
    kinds = ("inh-caps", "ambient-caps", "bounding-set")
    return ["setpriv", "--securebits", "+noroot", "--no-new-privs", *(f"--{kind}={only}" for kind in kinds)]


@pytest.fixture(autouse=True)
def _tidy(fast_lab: Lab) -> Iterator[None]:
    yield
    fast_lab.balancer.close()
    fast_lab.tidy()


@pytest.mark.parametrize("source", ["transparent", "snat"])
def test_the_units_capabilities_are_enough(fast_lab: Lab, source: str) -> None:
    """For either source and for the fast path, in both address families."""
    status = start(fast_lab, source, under=rights())
    assert (status.fast_path, status.fast_path_reason) == ("native", "")
    clients = dict(zip(Family, (fast_lab.clients["c1"], fast_lab.clients["c2"]), strict=True))
    for family, client in clients.items():
        client.connect(fast_lab.vip[family], Profile.CERT)
    check_fast(fast_lab, *clients.values())
    assert fast_lab.balancer.stop() == 0


@pytest.mark.parametrize(
    ("lacking", "said"), [("net_bind_service", "give CAP_NET_BIND_SERVICE"), ("net_admin", "give CAP_NET_ADMIN")]
)
def test_what_cannot_do_without_one_says_so(fast_lab: Lab, lacking: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        start(fast_lab, "transparent", under=[word.replace(f"+{lacking}", f"-{lacking}") for word in rights()])
