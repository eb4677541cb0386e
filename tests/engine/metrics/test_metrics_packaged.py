"""Dashboard and alert rules ask for metrics, labels and values that there are, and alert when they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from running_engine import FAST_PROBES, service, until, world
from vpn_peers import address

from engine.metrics import families
from engine.metrics.collector import MODES, VIOLATIONS
from engine.metrics.exposition import Family
from engine.telemetry.alarms import KINDS

PACKAGING = Path(__file__).parents[3] / "packaging"
ALERTS = PACKAGING / "alerts.yml"
DASHBOARD = json.loads((PACKAGING / "grafana-dashboard.json").read_text())
LISTEN = f"{address(91)}:9466"
PROMETHEUS_ADDS = {"job", "instance"}


def found_in(tree: Any, *keys: str) -> Iterator[str]:
    """Every text under one of some keys, however deep."""
    if isinstance(tree, list):
        for entry in tree:
            yield from found_in(entry, *keys)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            if key in keys and isinstance(value, str):
                yield value
            else:
                yield from found_in(value, *keys)


def expressions() -> list[str]:
    """Every query of the dashboard, with its variables filled in, and the text of the alerts."""
    queries = [*found_in(DASHBOARD["panels"], "expr"), *found_in(DASHBOARD["annotations"], "expr")]
    queries += [re.sub(r"label_values\((.*), \w+\)", r"\1", text) for text in found_in(DASHBOARD, "definition")]
    assert len(queries) > 30
    return [re.sub(r"\$(__rate_interval|\w+)", lambda name: "5m" if name[1][0] == "_" else ".*", q) for q in queries]


def selectors() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Every metric that is asked for, with its matchers: label, operator, value."""
    for text in [*expressions(), ALERTS.read_text()]:
        for name, _, matchers in re.findall(r"\b((?:ikeconsole|process)_\w+)(\{([^{}]*)\})?", text):
            yield name, re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers)


async def labels_told(directory: Path) -> dict[str, set[str]]:
    """The labels of every metric that an engine with a tunnel and a dead server tells."""
    named: dict[str, set[str]] = defaultdict(set)
    host, _, port = LISTEN.partition(":")
    async with world(directory, service(health=FAST_PROBES), servers="a", metrics={"listen": LISTEN}) as w:
        await w.engine.healthy("a")
        await w.connected()
        await until(lambda: w.engine.operations.status().alarms)
        heard = b""
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            async for some in stream:
                heard += some
    for family in text_string_to_metric_families(heard.partition(b"\r\n\r\n")[2].decode()):
        for sample in family.samples:
            named[sample.name] |= sample.labels.keys()
    return named


@pytest.mark.trio
async def test_every_metric_and_label_asked_for_is_there(tmp_path: Path) -> None:
    told = await labels_told(tmp_path)
    names = {family.name for family in vars(families).values() if isinstance(family, Family)}
    for name, matchers in selectors():
        assert name in names | told.keys(), name
        if name in told:
            assert {label for label, *_ in matchers} <= told[name] | PROMETHEUS_ADDS, name


def test_values_of_labels_that_are_asked_for_can_occur() -> None:
    closed = {
        "direction": {"in", "out"},
        "phase": {"established", "half-open"},
        "mode": set(map(str, MODES)),
        "state": {"enabled", "drain", "disabled"},
        "kind": {*KINDS, *VIOLATIONS},
        "severity": {"warning", "error"},
    }
    looked_at = 0
    for name, matchers in selectors():
        for label, _, value in matchers:
            if label in closed:
                looked_at += 1
                assert set(value.split("|")) <= closed[label], f"{name}{{{label}}}"
    assert looked_at > 10


def test_alarms_with_an_alert_of_their_own_are_left_out_of_the_general_one() -> None:
    text = ALERTS.read_text()
    (left_out,) = re.findall(r'ikeconsole_alarms\{kind!~"([^"]*)"\}', text)
    own = set(re.findall(r'ikeconsole_alarms\{kind="([^"]*)"\}', text))
    assert own <= set(left_out.split("|")) <= set(KINDS)


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    _, *alerts = re.split(r"- alert: ", ALERTS.read_text())
    assert len(alerts) > 10
    for alert in alerts:
        assert re.search(r"^ +severity: (critical|warning|info)$", alert, re.MULTILINE), alert
        assert re.search(r"^ +summary: ", alert, re.MULTILINE), alert
        assert re.search(r"^ +runbook: ", alert, re.MULTILINE), alert


def test_the_dashboard_can_be_imported_anywhere() -> None:
    """It names no data source of ours, and no two panels overlap or share an id."""
    assert set(found_in(DASHBOARD, "uid")) == {"ikeconsole", "${datasource}"}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_declares_the_variables_that_it_uses_and_no_others() -> None:
    """Else a panel would ask for `$instance` by that name, and find nothing."""
    declared = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = {name for name in re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD)) if not name.startswith("__")}
    assert used == declared


class Promtool:
    """Prometheus' own judge of queries and rules."""

    def __init__(self, program: str) -> None:
        self._program = program

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self._program, *arguments], capture_output=True, text=True, timeout=60, check=False)

    def check_rules(self, path: Path) -> str:
        done = self.run("check", "rules", path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    """That of the machine, or what `make test` has put beside this Python; skips without, and fails under CI."""
    beside = Path(sys.executable).parent
    program = shutil.which("promtool") or shutil.which("promtool", path=beside)
    if program is None:
        reason = f"tests of alerts and dashboard need promtool: packaging/fetch-promtool {beside / 'promtool'}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return Promtool(program)


def test_promtool_takes_every_query(tmp_path: Path, promtool: Promtool) -> None:
    promtool.check_rules(ALERTS)
    rules = [{"record": f"query_{number}", "expr": text} for number, text in zip(count(), expressions(), strict=False)]
    path = tmp_path / "dashboard.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool.check_rules(path)


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    told = {"instance": "lb1", "job": "ikeconsole"} | labels
    return {"series": f"{name}{{{','.join(f'{key}={value!r}' for key, value in told.items())}}}", "values": values}


SERVER = {"service": "vpn", "server": "a"}


@pytest.mark.parametrize(
    ("alert", "told", "at", "fires"),
    [
        ("Down", [series("up", "0x5")], "2m", True),
        ("ServerDown", [series("ikeconsole_server_up", "0x5", **SERVER)], "2m", True),
        (
            "ServerDown",
            [
                series("ikeconsole_server_up", "0x5", **SERVER),
                series("ikeconsole_server_admin_state", "1x5", state="disabled", **SERVER),
            ],
            "2m",
            False,
        ),
        (
            "NoServer",
            [
                series("ikeconsole_server_takes_sessions", "0x5", **SERVER),
                series("ikeconsole_server_takes_sessions", "0x5", service="vpn", server="b"),
            ],
            "2m",
            True,
        ),
        (
            "NoServer",
            [
                series("ikeconsole_server_takes_sessions", "0x5", **SERVER),
                series("ikeconsole_server_takes_sessions", "1x5", service="vpn", server="b"),
            ],
            "2m",
            False,
        ),
        ("ServerFlapping", [series("ikeconsole_server_up", "0 1 0 1 0 1 0 1 0", **SERVER)], "8m", True),
        (
            "ClientOnTwoServers",
            [series("ikeconsole_violations_total", "0x5 1x5", service="vpn", kind="spi-split")],
            "7m",
            True,
        ),
        ("SessionsLost", [series("ikeconsole_sessions", "100x10 30x10", phase="established", **SERVER)], "14m", True),
        ("SessionsLost", [series("ikeconsole_sessions", "100x10 60x10", phase="established", **SERVER)], "14m", False),
        ("SessionsLost", [series("ikeconsole_sessions", "10x10 1x10", phase="established", **SERVER)], "14m", False),
        (
            "SessionTableNearlyFull",
            [series("ikeconsole_session_table_entries", "95x9"), series("ikeconsole_session_table_limit", "100x9")],
            "7m",
            True,
        ),
        (
            "EngineOverloaded",
            [series("ikeconsole_datagrams_dropped_total", "0+600x9", service="vpn", reason="receive-buffer-full")],
            "8m",
            True,
        ),
        (
            "DatagramsDropped",
            [series("ikeconsole_datagrams_dropped_total", "0+6000x20", service="vpn", reason="no-server")],
            "18m",
            True,
        ),
        (
            "FastPathLost",
            [
                series("ikeconsole_fast_path_mode", "0x5 1x10", mode="off"),
                series("ikeconsole_fast_path_mode", "1x5 0x10", mode="native"),
                series("ikeconsole_fast_path_mode", "0x15", mode="generic"),
            ],
            "13m",
            True,
        ),
        (
            "FastPathLost",
            [
                series("ikeconsole_fast_path_mode", "1x15", mode="off"),
                series("ikeconsole_fast_path_mode", "0x15", mode="native"),
            ],
            "13m",
            False,
        ),
        ("Restarted", [series("process_start_time_seconds", "100x3 400x3")], "6m", True),
        ("Alarm", [series("ikeconsole_alarms", "1x9", kind="auth-fragmented", service="vpn")], "7m", True),
        ("Alarm", [series("ikeconsole_alarms", "1x9", kind="server-down", service="vpn", server="a")], "7m", False),
    ],
)
def test_alerts_come_when_they_say(
    tmp_path: Path, promtool: Promtool, alert: str, told: list[dict[str, str]], at: str, fires: bool
) -> None:
    """promtool says what it got when it got another number of alerts than none; so it is asked for none."""
    case = {"eval_time": at, "alertname": f"Ikeconsole{alert}", "exp_alerts": []}
    tests = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "15s",
        "tests": [{"interval": "1m", "input_series": told, "alert_rule_test": [case]}],
    }
    path = tmp_path / "test.yml"
    path.write_text(json.dumps(tests))
    done = promtool.run("test", "rules", path)
    assert ("SUCCESS" in done.stdout) is not fires, done.stdout + done.stderr
    if fires:
        assert f'alertname="Ikeconsole{alert}"' in done.stdout + done.stderr
