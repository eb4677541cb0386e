"""The tables and the plot of the fast path's results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from ..report import DOCS, Run, Sample, to_json, write_page
from .filled import FILLED
from .flows import Direction
from .forwarders import BARE_REDIRECT, FORWARDERS, GENERATOR_ALONE, NFTABLES, NGINX, OURS, ROUTING, Forwarder
from .measures import CASES, DELAY, FLOOD, FLOODED, FORWARDING, GROWTH, QUIET, WITHOUT_BALANCER, forwarding_case
from .plot import Plot
from .settings import FastPathSettings

JSON = DOCS / "benchmarks-fastpath.json"
PLOT = DOCS / "benchmarks-fastpath.svg"
COMPARED = (OURS, *(one for one in FORWARDERS if one not in (OURS, GENERATOR_ALONE)))


@dataclass(frozen=True, slots=True)
class Goal:
    """How many times what another forwarder passes on ours is to pass on, with so many clients."""

    other: Forwarder
    clients: int
    least: float
    aim: float


GOALS = (
    Goal(NFTABLES, 1_000, 2.5, 3),
    Goal(NFTABLES, 100_000, 2, 3),
    Goal(NGINX, 1_000, 10, 15),
    Goal(NGINX, 100_000, 10, 15),
    Goal(BARE_REDIRECT, 1_000, 0.7, 0.85),
    Goal(BARE_REDIRECT, 100_000, 0.45, 0.6),
)
SINGLE_SESSION_GOAL = 0.95
SINGLE_SESSION_BYTES = 1_400


def tables(run: Run) -> str:
    """A table for each measure that was run."""
    settings = run.settings
    assert isinstance(settings, FastPathSettings)
    forwarding = _Numbers([sample for sample in run.samples if sample.measure == FORWARDING])
    growth = _Numbers([sample for sample in run.samples if sample.measure == GROWTH])
    flood = _Numbers([sample for sample in run.samples if sample.measure == FLOOD])
    delay = _Numbers([sample for sample in run.samples if sample.measure == DELAY])
    parts: list[Iterator[str]] = []
    if forwarding.samples:
        parts += [
            _goals(settings, forwarding),
            _rates(settings, forwarding),
            _costs(settings, forwarding),
            _single_session(settings, forwarding),
        ]
    if growth.samples:
        parts.append(_growth(settings, growth))
    if flood.samples:
        parts.append(_flood(settings, flood))
    if delay.samples:
        parts.append(_delay(delay))
    return "\n\n".join("\n".join(part) for part in parts)


def write_docs(run: Run) -> None:
    """Replace the results in docs/: the page's part, all numbers, and the plot."""
    page = tables(run)
    growth = _Numbers([sample for sample in run.samples if sample.measure == GROWTH])
    if growth.samples:
        PLOT.write_text(_plot(growth).svg())
        page += f"\n\n![CPU time of a packet as flows grow]({PLOT.name})"
    write_page("fast path", run, page)
    JSON.write_bytes(to_json(run))


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The samples of one measure."""

    samples: Sequence[Sample]

    def of(self, case: str, peer: str, key: str) -> dict[int, float]:
        """By round."""
        return {
            sample.round: sample.values[key]
            for sample in self.samples
            if (sample.case, sample.peer) == (case, peer) and key in sample.values
        }

    def middle(self, case: str, peer: str, key: str) -> float:
        """The median of the rounds."""
        return median(self.of(case, peer, key).values())

    def ratios(self, case: str, peer: str, other: str, key: str) -> list[float]:
        """Of each round, the least first."""
        ours, theirs = self.of(case, peer, key), self.of(case, other, key)
        return sorted(ours[number] / theirs[number] for number in ours.keys() & theirs.keys())


def _cases(settings: FastPathSettings) -> Iterator[tuple[int, str]]:
    for clients in settings.clients:
        for size_bytes in settings.sizes_bytes:
            for direction in Direction:
                yield clients, forwarding_case(clients, size_bytes, direction)


def _goals(settings: FastPathSettings, numbers: _Numbers) -> Iterator[str]:
    yield from _head("Packets/s, ours to", "clients", "goal", "aim", "worst case", "best case", "")
    for goal in GOALS:
        ratios = [
            median(numbers.ratios(case, OURS.name, goal.other.name, "packets_per_s"))
            for clients, case in _cases(settings)
            if clients == goal.clients
        ]
        if ratios:
            met = "aim met" if min(ratios) >= goal.aim else "met" if min(ratios) >= goal.least else "missed"
            cells = (
                f"{goal.clients:,}",
                f"{goal.least:g}",
                f"{goal.aim:g}",
                f"{min(ratios):.2f}",
                f"{max(ratios):.2f}",
            )
            yield _row(goal.other.name, *cells, met)
    shares = [sample.values["core_busy_share"] for sample in numbers.samples]
    yield f"\nOf the core, this work had {min(shares):.0%} at least, {median(shares):.1%} in the median."


def _rates(settings: FastPathSettings, numbers: _Numbers) -> Iterator[str]:
    others = COMPARED[1:]
    yield from _head("Thousand packets/s", *(one.name for one in COMPARED), *(f"ours/{other.name}" for other in others))
    for clients, case in _cases(settings):
        rates = (_rate(numbers, case, one, clients) for one in COMPARED)
        ratios = (_ratio(numbers.ratios(case, OURS.name, other.name, "packets_per_s")) for other in others)
        yield _row(case, *rates, *ratios)


def _rate(numbers: _Numbers, case: str, forwarder: Forwarder, clients: int) -> str:
    rate = f"{numbers.middle(case, forwarder.name, 'packets_per_s') / 1e3:,.0f}"
    had = numbers.middle(case, forwarder.name, "clients")
    return rate if had == clients else f"{rate} ({had:,.0f} clients)"


def _costs(settings: FastPathSettings, numbers: _Numbers) -> Iterator[str]:
    yield from _head("CPU ns per packet", GENERATOR_ALONE.name, *(one.name for one in COMPARED))
    for _, case in _cases(settings):
        made_ns = numbers.middle(case, GENERATOR_ALONE.name, "cpu_ns_per_packet")
        cells = []
        for one in COMPARED:
            ns = numbers.middle(case, one.name, "cpu_ns_per_packet")
            cells.append(f"{ns:,.0f} ({ns - made_ns:,.0f})")
        yield _row(case, f"{made_ns:,.0f}", *cells)


def _single_session(settings: FastPathSettings, numbers: _Numbers) -> Iterator[str]:
    if 1 not in settings.clients or SINGLE_SESSION_BYTES not in settings.sizes_bytes:
        return
    yield from _head("One session, Mbit/s", OURS.name, ROUTING.name, f"ours/{ROUTING.name}", "")
    for direction in Direction:
        case = forwarding_case(1, SINGLE_SESSION_BYTES, direction)
        ours, routed = (
            numbers.middle(case, one.name, "packets_per_s") * SINGLE_SESSION_BYTES * 8 / 1e6 for one in (OURS, ROUTING)
        )
        ratios = numbers.ratios(case, OURS.name, ROUTING.name, "packets_per_s")
        met = "met" if median(ratios) >= SINGLE_SESSION_GOAL else "missed"
        yield _row(
            direction.value, f"{ours:,.0f}", f"{routed:,.0f}", _ratio(ratios), f"goal {SINGLE_SESSION_GOAL}: {met}"
        )


def _growth(settings: FastPathSettings, numbers: _Numbers) -> Iterator[str]:
    yield from _head("CPU ns per packet, flows", FILLED.name, BARE_REDIRECT.name, "packets/s, ours to bare redirect")
    for flows in settings.growth_flows:
        case = str(flows)
        costs = (numbers.middle(case, one.name, "cpu_ns_per_packet") for one in (FILLED, BARE_REDIRECT))
        ratios = numbers.ratios(case, FILLED.name, BARE_REDIRECT.name, "packets_per_s")
        yield _row(f"{flows:,}", *(f"{ns:,.0f}" for ns in costs), _ratio(ratios))


def _flood(settings: FastPathSettings, numbers: _Numbers) -> Iterator[str]:
    titles = ("came a second", "without flood", "during it", "ratio", "lost then")
    yield from _head("Thousand packets/s of tunnels", *titles)
    for per_s in settings.flood_per_s:
        case = str(per_s)
        yield _row(
            f"flood of {per_s:,} IKE_SA_INIT/s",
            f"{numbers.middle(case, FLOODED, 'flood_per_s'):,.0f}",
            *(f"{numbers.middle(case, peer, 'packets_per_s') / 1e3:,.0f}" for peer in (QUIET, FLOODED)),
            _ratio(numbers.ratios(case, FLOODED, QUIET, "packets_per_s")),
            f"{numbers.middle(case, FLOODED, 'lost_share'):.1%}",
        )


def _plot(numbers: _Numbers) -> Plot:
    flows = sorted({int(sample.case) for sample in numbers.samples})
    return Plot(
        "CPU time of a packet, ns: making it, forwarding it, counting it",
        "flows that packets belong to in turn",
        {
            one.name: [(count, numbers.middle(str(count), one.name, "cpu_ns_per_packet")) for count in flows]
            for one in (FILLED, BARE_REDIRECT)
        },
    )


def _delay(numbers: _Numbers) -> Iterator[str]:
    yield from _head("Round trip of ESP", "p50, µs", "to no balancer", "p99, µs", "to no balancer", "max, µs", "lost")
    (case,) = {sample.case for sample in numbers.samples}
    for way in CASES:
        cells = []
        for key in ("p50_us", "p99_us"):
            cells.append(f"{numbers.middle(case, way.name, key):,.0f}")
            cells.append(_ratio(numbers.ratios(case, way.name, WITHOUT_BALANCER.name, key)))
        lost = sum(numbers.of(case, way.name, "lost").values())
        yield _row(way.name, *cells, f"{numbers.middle(case, way.name, 'max_us'):,.0f}", f"{lost:,.0f}")


def _ratio(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def _head(*titles: str) -> Iterator[str]:
    yield _row(*titles)
    yield _row("---", *["---:"] * (len(titles) - 1))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
