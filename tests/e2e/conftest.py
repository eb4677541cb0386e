"""Fixtures of the end-to-end tests: a lab for each module, and an engine in it."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import suppress

import pytest
from bpf_objects import require_bpf
from harness import fault_table
from harness.certificates import Authority
from harness.faults import Outcome
from harness.lab import Lab, open_lab
from harness.namespaces import sweep_leftovers
from harness.requirements import missing
from harness.topology import Shape

LOG_TAIL_BYTES = 6000
PRECEDENCE = 10
"""Steps of nice(2)."""
FAULT_ROWS = pytest.StashKey[list[fault_table.Row]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """An option for `make faults`; known where tests/e2e is given by name."""
    parser.addoption("--write-faults", action="store_true", help="write what faults cost to docs/faults.md")


@pytest.fixture(scope="module", autouse=True)
def _first_served() -> Iterator[None]:
    """Daemons that wait for tests beside them to leave the processor would lose packets, and the balancer be blamed."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, before - PRECEDENCE)
    yield
    os.setpriority(os.PRIO_PROCESS, 0, before)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate authority; skips where this machine cannot run real peers, and fails there under CI."""
    if lacking := missing():
        reason = f"end-to-end tests need {', '.join(lacking)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    sweep_leftovers()
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Lab]:
    """Three clients, two more behind one NAT, the balancer in between, three servers."""
    with open_lab(tmp_path_factory.mktemp("lab"), authority, nat_clients=2) as made:
        yield made


@pytest.fixture
def fresh_lab(lab: Lab) -> Iterator[Lab]:
    """The lab without an engine; what engine the test starts ends with it."""
    lab.watch()
    yield lab
    lab.balancer.close()
    lab.tidy()


@pytest.fixture(scope="module")
def single_arm_lab(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Lab]:
    """One client behind a router; the balancer in the servers' segment."""
    directory = tmp_path_factory.mktemp("single")
    with open_lab(directory, authority, Shape.SINGLE_ARM, clients=1, servers=2) as made:
        yield made


@pytest.fixture(scope="session")
def fast_path_machine() -> None:
    """Skips where this machine has no fast path to test."""
    require_bpf()


@pytest.fixture(scope="session")
def fast_lab(tmp_path_factory: pytest.TempPathFactory, authority: Authority, fast_path_machine: None) -> Iterator[Lab]:
    """Two clients, two more behind one NAT, two servers; the balancer's devices take redirected frames."""
    with open_lab(tmp_path_factory.mktemp("fast"), authority, clients=2, nat_clients=2, servers=2) as made:
        made.topology.take_redirected_frames()
        yield made


@pytest.fixture(scope="module")
def fast_single_arm_lab(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, fast_path_machine: None
) -> Iterator[Lab]:
    """Two clients behind a router; the balancer in the server's segment, its device takes redirected frames."""
    with open_lab(tmp_path_factory.mktemp("arm"), authority, Shape.SINGLE_ARM, clients=2, servers=1) as made:
        made.topology.take_redirected_frames()
        yield made


@pytest.fixture
def report_fault(request: pytest.FixtureRequest) -> fault_table.Report:
    """Take down what a fault cost; it goes into docs/faults.md when that is asked for and all tests pass."""
    rows = request.config.stash.setdefault(FAULT_ROWS, [])
    area = request.path.stem.removeprefix("test_e2e_fault_")

    def report(fault: str, where: str, outcome: Outcome, *, told: str = "") -> None:
        rows.append(fault_table.Row(area, fault, where, outcome, told))

    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the table of faults."""
    if exitstatus == pytest.ExitCode.OK and session.config.getoption("--write-faults", default=False):
        fault_table.write(session.config.stash.get(FAULT_ROWS, []))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the daemons' last words beside a failed test, and below those what it failed with, for they are long."""
    report = yield
    if call.excinfo and report.failed and call.when == "call" and isinstance(item, pytest.Function):
        for lab in (fixture for fixture in item.funcargs.values() if isinstance(fixture, Lab)):
            for name, path in lab.logs().items():
                if path.exists():
                    report.sections.append((f"log of {name}", path.read_text()[-LOG_TAIL_BYTES:]))
            report.sections.append(("datagrams without room in a socket", str(lab.turned_away())))
        report.sections.append(("what failed", call.excinfo.exconly()))
    return report
