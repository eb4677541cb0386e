"""The results of a run: records, medians and ratios, and the table of docs/benchmarks.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec

from .churn_settings import ChurnSettings
from .console_settings import ConsoleSettings
from .fastpath.settings import FastPathSettings
from .measures import Settings, Values

DOCS = Path(__file__).parents[2] / "docs"
OURS, REFERENCE, TUNED, DIRECT = "ours", "nginx", "nginx-tuned", "direct"


class Sample(msgspec.Struct, frozen=True):
    """The numbers of one peer in one case and round."""

    measure: str
    case: str
    round: int
    peer: str
    values: Values


class Run(msgspec.Struct, frozen=True):
    """A whole run, as the documents of numbers in docs/ have it."""

    conditions: dict[str, str]
    settings: Settings | ConsoleSettings | FastPathSettings | ChurnSettings
    samples: list[Sample]


@dataclass(frozen=True, slots=True)
class Headline:
    """A number that the table shows: its key, label, and how it is written."""

    measure: str
    key: str
    label: str
    number_format: str = ",.0f"
    compared: bool = True


HEADLINES = (
    Headline("forwarding", "packets_per_s", "packets/s"),
    Headline("forwarding", "packets_per_cpu_s", "packets per CPU second"),
    Headline("forwarding", "forwarder_core_busy_share", "forwarder's core, busy", ".0%", compared=False),
    Headline("forwarding", "load_core_busy_share", "load's core, busy", ".0%", compared=False),
    Headline("forwarding", "lost", "datagrams lost", compared=False),
    Headline("forwarding", "misdelivered", "answers at another client", compared=False),
    Headline("sessions", "sessions_per_s", "new sessions/s"),
    Headline("sessions", "sessions_per_cpu_s", "new sessions per CPU second"),
    Headline("sessions", "failed", "tunnels failed", compared=False),
    Headline("sessions", "retransmitted", "messages sent again", compared=False),
    Headline("memory", "memory_bytes_per_session", "process bytes per session"),
    Headline("memory", "kernel_bytes_per_session", "kernel bytes per session", compared=False),
    Headline("memory", "files_per_session", "open files per session", ".2f"),
    Headline("memory", "established_share", "tunnels that came up", ".0%", compared=False),
    Headline("latency", "p50_us", "round trip p50, µs"),
    Headline("latency", "p99_us", "round trip p99, µs"),
)


def table(run: Run) -> str:
    """Medians of the rounds for every peer; ratios as median (least to most) of the rounds."""
    lines = [
        "| | ours | nginx | ours/nginx | nginx, tuned | ours/tuned | direct |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case in dict.fromkeys((sample.measure, sample.case) for sample in run.samples):
        for headline in HEADLINES:
            if headline.measure != case[0]:
                continue
            rounds = {peer: _by_round(run, case, peer, headline.key) for peer in (OURS, REFERENCE, TUNED, DIRECT)}
            cells = {peer: _cell(numbers, headline.number_format) for peer, numbers in rounds.items()}
            to_reference, to_tuned = (
                _ratio_cell(rounds[OURS], rounds[peer]) if headline.compared else "" for peer in (REFERENCE, TUNED)
            )
            row = (
                f"{case[1]}: {headline.label}",
                cells[OURS],
                cells[REFERENCE],
                to_reference,
                cells[TUNED],
                to_tuned,
                cells[DIRECT],
            )
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def write_docs(part: str, run: Run, results: str) -> None:
    """Replace the results of a part in docs/benchmarks.md and .json; the prose and the other parts stay."""
    write_page(part, run, results)
    numbers = DOCS / "benchmarks.json"
    parts = msgspec.json.decode(numbers.read_bytes(), type=dict[str, msgspec.Raw])
    numbers.write_bytes(to_json(parts | {part: msgspec.Raw(msgspec.json.encode(run))}))


def write_page(part: str, run: Run, results: str, page: Path = DOCS / "benchmarks.md") -> None:
    """Replace the results of a part in a page of docs/."""
    begin, end = f"<!-- {part} results: written by the bench -->", f"<!-- end of {part} results -->"
    before, _, rest = page.read_text().partition(begin)
    after = rest.partition(end)[2]
    conditions = "\n".join(f"* {name}: {value}" for name, value in run.conditions.items())
    page.write_text(f"{before}{begin}\n\n{conditions}\n\n{results}\n\n{end}{after}")


def to_json(document: object) -> bytes:
    """One JSON document, to be read by people too."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def _by_round(run: Run, case: tuple[str, str], peer: str, key: str) -> dict[int, float]:
    return {
        sample.round: sample.values[key]
        for sample in run.samples
        if (sample.measure, sample.case) == case and sample.peer == peer and key in sample.values
    }


def _cell(rounds: dict[int, float], number_format: str) -> str:
    return format(median(rounds.values()), number_format) if rounds else ""


def _ratio_cell(ours: dict[int, float], reference: dict[int, float]) -> str:
    ratios = sorted(ours[n] / reference[n] for n in ours.keys() & reference.keys() if reference[n] > 0)
    return f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})" if ratios else ""
