"""The soak's verdict: what it lets pass, and what it finds."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.bench import churn_report
from tests.bench.churn import Churn, Moment
from tests.bench.churn_clients import Happened
from tests.bench.churn_settings import ChurnSettings
from tests.bench.churned_engine import Sample, Sizes

MIB = 1 << 20
SETTINGS = ChurnSettings(minutes=1, sample_s=1)
EMPTY = Sizes(**dict.fromkeys(Sizes.__struct_fields__, 0))
NOTHING_YET = Sample(
    sizes=EMPTY, memory_blocks=200_000, new_sessions=0, forwarded=0, forwarded_fast=0, worst_delay_ms=1.0, drops={}
)


def moment(at_s: float, *, rss_bytes: float = 100 * MIB, files: int = 45, **changed: object) -> Moment:
    return Moment(at_s, int(rss_bytes), files, msgspec.structs.replace(NOTHING_YET, **changed))


def run(during: Callable[[int], Moment], last: Moment | None = None, happened: Happened | None = None) -> Churn:
    return Churn(
        SETTINGS,
        moment(0),
        [during(second) for second in range(1, 61)],
        [last or moment(90, new_sessions=600)],
        60.0,
        happened or Happened(connected=600),
    )


def steady(second: int) -> Moment:
    """Sizes swing; what grows does so at first."""
    swing = second % 7
    return moment(
        second,
        rss_bytes=(100 + min(second, 20) + swing / 10) * MIB,
        files=46,
        memory_blocks=200_000 + 1_000 * swing,
        new_sessions=10 * second,
    )


def test_a_run_whose_memory_settles_and_whose_tables_empty_passes() -> None:
    assert churn_report.faults(run(steady)) == []
    assert "Passed: all tables were empty 30 s after the last client" in churn_report.results(run(steady))


@pytest.mark.parametrize("table", Sizes.__struct_fields__)
def test_one_entry_left_in_any_table_is_found(table: str) -> None:
    left = moment(105, sizes=msgspec.structs.replace(EMPTY, **{table: 1}))

    (fault,) = churn_report.faults(run(steady, left))

    assert fault == f"left 45 s after the last client: {table.replace('_', ' ')} 1"


def test_growth_of_either_measure_of_memory_is_found() -> None:
    def resident(second: int) -> Moment:
        return moment(second, rss_bytes=(100 + second / 10) * MIB)

    def blocks(second: int) -> Moment:
        return moment(second, memory_blocks=200_000 + 300 * second)

    assert churn_report.faults(run(resident)) == [
        "resident memory grew by 2.8% in the second half, at most 2% is allowed"
    ]
    assert churn_report.faults(run(blocks)) == ["memory blocks grew by 4.1% in the second half, at most 2% is allowed"]


def test_a_descriptor_too_many_is_found_and_the_raw_socket_is_none() -> None:
    assert churn_report.faults(run(steady, moment(90, files=46))) == []
    assert churn_report.faults(run(steady, moment(90, files=47))) == ["47 open files at the end, 46 are expected"]


@pytest.mark.parametrize(
    ("happened", "fault"),
    [
        (Happened(lost=1), "1 tunnels lost"),
        (Happened(unanswered=2), "2 tunnels unanswered"),
        (Happened(misdelivered=3), "3 datagrams misdelivered"),
    ],
)
def test_what_clients_suffer_is_found(happened: Happened, fault: str) -> None:
    assert churn_report.faults(run(steady, happened=happened)) == [fault]
