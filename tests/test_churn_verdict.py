"""The soak's verdict: what it lets pass, and what it finds."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.bench import churn_report
from tests.bench.churn import Churn, Moment
from tests.bench.churn_clients import Happened
from tests.bench.churn_settings import ChurnSettings
from tests.bench.churn_tunnels import TunnelCourse
from tests.bench.churned_engine import Sample, Sizes

MIB = 1 << 20
SETTINGS = ChurnSettings(minutes=1, sample_s=1)
EMPTY = Sizes(**dict.fromkeys(Sizes.__struct_fields__, 0))
NOTHING_YET = Sample(
    sizes=EMPTY, memory_blocks=200_000, new_sessions=0, forwarded=0, forwarded_fast=0, worst_delay_ms=1.0, drops={}
)


MAPS = {"flows_v4": 0, "flows_v6": 0, "shields": 4}


def moment(
    at_s: float, *, rss_bytes: float = 100 * MIB, files: int = 45, maps: dict[str, int] | None = None, **changed: object
) -> Moment:
    return Moment(at_s, int(rss_bytes), files, MAPS | (maps or {}), msgspec.structs.replace(NOTHING_YET, **changed))


def run(
    during: Callable[[int], Moment],
    last: Moment | None = None,
    happened: Happened | None = None,
    tunnels: tuple[TunnelCourse, ...] = (),
) -> Churn:
    return Churn(
        SETTINGS,
        moment(0),
        [during(second) for second in range(1, 61)],
        [last or moment(90, new_sessions=600)],
        60.0,
        happened or Happened(connected=600),
        list(tunnels),
    )


def steady(second: int) -> Moment:
    """Sizes swing; what grows does so at first."""
    swing = second % 7
    return moment(
        second,
        rss_bytes=(100 + min(second, 20) + swing / 10) * MIB,
        files=46,
        maps={"flows_v4": 5_000 + second, "flows_v6": 4},
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


@pytest.mark.parametrize(
    ("maps", "fault"),
    [
        ({"flows_v6": 2}, "left 45 s after the last client: kernel flow entries 2"),
        ({"shields": 5}, "the BPF map shields had 4 entries, and has 5"),
    ],
)
def test_what_the_kernel_has_and_the_engine_does_not_know_of_is_found(maps: dict[str, int], fault: str) -> None:
    assert churn_report.faults(run(steady, moment(105, maps=maps))) == [fault]


def test_growth_of_either_measure_of_memory_is_found() -> None:
    def resident(second: int) -> Moment:
        return moment(second, rss_bytes=(100 + second / 10) * MIB)

    def blocks(second: int) -> Moment:
        return moment(second, memory_blocks=200_000 + 300 * second)

    assert churn_report.faults(run(resident)) == [
        "resident memory grew by 2.8% in the second half, at most 2% is allowed"
    ]
    assert churn_report.faults(run(blocks)) == ["memory blocks grew by 4.1% in the second half, at most 2% is allowed"]


def test_a_descriptor_too_many_is_found_and_the_raw_sockets_are_none() -> None:
    assert churn_report.faults(run(steady, moment(90, files=47))) == []
    assert churn_report.faults(run(steady, moment(90, files=48))) == ["48 open files at the end, 47 are expected"]


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


def test_what_real_tunnels_suffer_is_found_and_lost_pings_are_told() -> None:
    tunnels = (
        TunnelCourse("snat, ipv6", 58, 17_990, 12, 0.4, ()),
        TunnelCourse("snat, ipv4", 3, 420, 0, 0.1, ("at 63 s, ike SA, server: not within 8 s",)),
    )
    churn = run(steady, tunnels=tunnels)

    assert churn_report.faults(churn) == ["tunnel snat, ipv4: at 63 s, ike SA, server: not within 8 s"]
    assert "| snat, ipv6 | 58 | 17,990 | 12 | 0.4 |" in churn_report.results(churn)
