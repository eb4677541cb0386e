"""Benchmarks: the engine beside nginx's stream module, its fast path, and the console. Needs root and two cores.

python -m tests.bench [engine|fastpath|console|all] [--quick] [--peers ours nginx nginx-tuned direct]
                      [--only MEASURE ...] [--json FILE] [--write-docs] [--python FILE] [--profile FILE]
python -m tests.bench churn [--minutes M] [--clients N] [--write-docs]
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from . import churn_report, console, console_report, console_settings
from .churn import run_churn
from .churn_settings import ChurnSettings
from .churn_tunnels import lacking
from .console_settings import ConsoleSettings
from .fastpath import measures as fastpath
from .fastpath import report as fastpath_report
from .fastpath import settings as fastpath_settings
from .fastpath.settings import FastPathSettings
from .measures import QUICK, Measure, Peer, Settings, plan
from .peers import direct, nginx, ours
from .processes import FILE_LIMIT
from .report import Run, Sample, table, to_json, write_docs, write_page
from .testbed import testbed


def main() -> int:
    """Run what the arguments ask for; 2 when this user cannot."""
    arguments = _parse_arguments()
    if os.geteuid():
        print("the bench needs root: it makes network namespaces", file=sys.stderr)
        return 2
    # Default disposition of SIGTERM would leave the namespaces behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if arguments.part == "churn":
        return _run_churn(arguments)
    runs = {}
    if arguments.part in ("engine", "all"):
        runs["engine"] = run = _run_engine(arguments)
        _tell(arguments, "engine", run, table(run))
    if arguments.part in ("fastpath", "all"):
        runs["fastpath"] = run = _run_fastpath(arguments)
        print(fastpath_report.tables(run))
        if arguments.write_docs:
            fastpath_report.write_docs(run)
    if arguments.part in ("console", "all"):
        runs["console"] = run = _run_console(arguments)
        _tell(arguments, "console", run, console_report.tables(run))
    if arguments.json:
        arguments.json.write_bytes(to_json(runs))
    return 0


def _tell(arguments: argparse.Namespace, part: str, run: Run, results: str) -> None:
    print(results)
    if arguments.write_docs:
        write_docs(part, run, results)


def _run_engine(arguments: argparse.Namespace) -> Run:
    settings = QUICK if arguments.quick else Settings()
    engine = ours.Engine(arguments.python, arguments.profile)
    peers: list[Peer] = [
        peer for peer in (engine, nginx.AS_PACKAGED, nginx.TUNED, direct) if peer.NAME in arguments.peers
    ]
    measures = [measure for measure in plan(settings) if measure.name in arguments.only]
    return Run(_conditions(peers, arguments.python), settings, _run_all(settings.rounds, measures, peers))


def _run_console(arguments: argparse.Namespace) -> Run:
    settings = console_settings.QUICK if arguments.quick else ConsoleSettings()
    measures = [name for name in console.MEASURES if name in arguments.only]
    run = Run(_conditions([ours]), settings, [])
    for sample in console.run(settings, measures):
        run.samples.append(sample)
        _report(sample)
    return run


def _run_fastpath(arguments: argparse.Namespace) -> Run:
    settings = fastpath_settings.QUICK if arguments.quick else FastPathSettings()
    measures = [name for name in fastpath.MEASURES if name in arguments.only]
    run = Run(_conditions([ours, nginx.TUNED]), settings, [])
    for sample in fastpath.run(settings, measures):
        run.samples.append(sample)
        _report(sample)
    return run


def _run_churn(arguments: argparse.Namespace) -> int:
    if needed := lacking():
        print(f"churn needs {', '.join(needed)}", file=sys.stderr)
        return 2
    settings = ChurnSettings(minutes=arguments.minutes, clients=arguments.clients)
    conditions = _conditions([ours])
    for churn in run_churn(settings):
        print(churn_report.line(churn), file=sys.stderr, flush=True)
    results = churn_report.results(churn)
    print(results)
    if arguments.write_docs:
        write_page("churn", Run(conditions, settings, []), results, churn_report.PAGE)
    return 1 if churn_report.faults(churn) else 0


def _run_all(rounds: int, measures: list[Measure], peers: list[Peer]) -> list[Sample]:
    samples = []
    with tempfile.TemporaryDirectory(prefix="ikbench-") as directory, testbed(Path(directory)) as bed:
        for round_number in range(1, rounds + 1):
            for measure in measures:
                # Peers take turns within a measure, so slow drift of the machine meets all alike.
                for peer in peers:
                    if peer is direct and not measure.also_direct:
                        continue
                    values = measure.run(bed, peer)
                    samples.append(Sample(measure.name, measure.case, round_number, peer.NAME, values))
                    _report(samples[-1])
    return samples


def _report(sample: Sample) -> None:
    told = ", ".join(f"{name} {value:,.6g}" for name, value in sample.values.items())
    print(f"{sample.round} {sample.measure}, {sample.case}, {sample.peer}: {told}", file=sys.stderr)


def _conditions(peers: list[Peer], python: str = sys.executable) -> dict[str, str]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processor": f"{models[0]}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "Python": _python_build(python),
        "open files allowed": f"{FILE_LIMIT:,}",
        "load average before": f"{os.getloadavg()[0]:.2f}",
        **{peer.NAME: peer.version() for peer in peers},
    }


def _python_build(python: str) -> str:
    ask = "import platform, sysconfig; print(platform.python_version(), sysconfig.get_config_var('CONFIG_ARGS') or '')"
    number, _, arguments = subprocess.run(
        [python, "-c", ask], capture_output=True, text=True, check=True
    ).stdout.partition(" ")
    if python == ours.SYSTEM_PYTHON:
        return f"{number}, the system's"
    flag = "--enable-optimizations"
    return number if flag in arguments else f"{number}, configured without {flag}"


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round, to try it")
    names = [peer.NAME for peer in (ours, nginx.AS_PACKAGED, nginx.TUNED, direct)]
    measures = [*dict.fromkeys(measure.name for measure in plan(Settings())), *fastpath.MEASURES, *console.MEASURES]
    parser.add_argument(
        "part",
        nargs="?",
        choices=("engine", "fastpath", "console", "all", "churn"),
        default="all",
        help="what to measure",
    )
    parser.add_argument("--peers", nargs="+", choices=names, default=names, help="which peers")
    parser.add_argument("--only", nargs="+", choices=measures, default=measures, help="which measures")
    parser.add_argument("--json", type=Path, help="write every number to this file")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md and .json")
    parser.add_argument(
        "--python",
        metavar="FILE",
        default=ours.usual_python(),
        help="what runs our engine, of this version (engine): %(default)s",
    )
    parser.add_argument("--profile", type=Path, help="run ours under cProfile and write its last profile here")
    parser.add_argument("--minutes", type=_minutes, default=ChurnSettings().minutes, help="how long clients churn")
    parser.add_argument("--clients", type=int, default=ChurnSettings().clients, help="how many clients churn")
    return parser.parse_args()


def _minutes(text: str) -> float:
    if (minutes := float(text)) < 2:
        raise argparse.ArgumentTypeError("tables fill for nearly a minute: memory can be judged after two")
    return minutes


if __name__ == "__main__":
    sys.exit(main())
