"""The tables of the console's results: medians, and whether goals are met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from .report import Run, Sample

FIRST_PAINT_GOAL_S = 1.0
CORE_GOAL = 0.05
KEY_GOAL_MS = 100.0


def tables(run: Run) -> str:
    """A table for each measure that was run."""
    makers = {"first-paint": _first_paint, "rest": _rest, "keys": _keys, "delay": _delay}
    found = {name: [sample for sample in run.samples if sample.measure == name] for name in makers}
    return "\n\n".join("\n".join(makers[name](samples)) for name, samples in found.items() if samples)


def _first_paint(samples: Sequence[Sample]) -> Iterator[str]:
    yield from _head("First paint", "first byte, s", "real servers shown, s", "worst, s", "goal < 1 s")
    for case, peer in dict.fromkeys((sample.case, sample.peer) for sample in samples):
        of_case = [sample for sample in samples if (sample.case, sample.peer) == (case, peer)]
        painted_s = median(_numbers(of_case, "painted_s"))
        first, worst = median(_numbers(of_case, "first_byte_s")), max(_numbers(of_case, "painted_s"))
        yield _row(
            f"{peer}, {case}", f"{first:.2f}", f"{painted_s:.2f}", f"{worst:.2f}", _met(painted_s, FIRST_PAINT_GOAL_S)
        )


def _rest(samples: Sequence[Sample]) -> Iterator[str]:
    yield from _head("At rest", "core, still", "core, busy", "bytes/s, still", "bytes/s, busy", "goal < 5 % of a core")
    for case in dict.fromkeys(sample.case for sample in samples):
        by_kind = {sample.peer: sample.values for sample in samples if sample.case == case}
        shares = [values["core_share"] for values in by_kind.values()]
        cells = [f"{share:.1%}" for share in shares]
        cells += [f"{values['bytes_per_s']:,.0f}" for values in by_kind.values()]
        yield _row(case, *cells, _met(max(shares), CORE_GOAL))


def _keys(samples: Sequence[Sample]) -> Iterator[str]:
    yield from _head(f"Session list, {samples[0].peer}", "presses", "median, ms", "worst, ms", "goal < 100 ms a press")
    for sample in samples:
        values = sample.values
        cells = (f"{values[name]:,.0f}" for name in ("presses", "median_ms", "worst_ms"))
        yield _row(sample.case, *cells, _met(values["worst_ms"], KEY_GOAL_MS))


def _delay(samples: Sequence[Sample]) -> Iterator[str]:
    yield from _head("Slow path, console", "p50, µs", "p99, µs", "p99 to absent", "max, ms", "lost")
    by_round = {(sample.peer, sample.round): sample.values["p99_us"] for sample in samples}
    for peer in dict.fromkeys(sample.peer for sample in sorted(samples, key=lambda sample: sample.peer)):
        of_peer = [sample for sample in samples if sample.peer == peer]
        ratios = sorted(by_round[peer, sample.round] / by_round["absent", sample.round] for sample in of_peer)
        yield _row(
            peer,
            f"{median(_numbers(of_peer, 'p50_us')):,.0f}",
            f"{median(_numbers(of_peer, 'p99_us')):,.0f}",
            f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            f"{median(_numbers(of_peer, 'max_us')) / 1e3:.1f}",
            f"{sum(_numbers(of_peer, 'lost')):.0f}",
        )


def _head(*titles: str) -> Iterator[str]:
    yield _row(*titles)
    yield _row("---", *["---:"] * (len(titles) - 1))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _met(value: float, goal: float) -> str:
    return "met" if value < goal else "missed"


def _numbers(samples: Sequence[Sample], key: str) -> list[float]:
    return [sample.values[key] for sample in samples]
