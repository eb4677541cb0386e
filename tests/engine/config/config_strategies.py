"""Random valid configurations, and random ways to write one down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomli_w
from hypothesis import strategies as st
from msgspec.structs import replace
from netaddr import IPAddress

from engine.config.dump import to_short_table, to_table
from engine.config.schema import (
    AdminState,
    Agent,
    Config,
    Duration,
    EngineSection,
    FastPath,
    Health,
    HealthKind,
    LogLevel,
    Metrics,
    PersistenceKind,
    PrefixLengths,
    RealServer,
    SchedulerKind,
    Service,
    Source,
    Timeouts,
)

NAMES = ["a", "b", "c", "d.1", "E_2", "rras-1"]


def spans(low_ms: int, high_ms: int) -> st.SearchStrategy[Duration]:
    return st.integers(low_ms, high_ms).map(lambda ms: Duration(ms / 1000))


long_spans = spans(100, 604_800_000)


@st.composite
def real_servers(draw: st.DrawFn, network: str) -> list[RealServer]:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    hosts = draw(st.permutations([f"{network}{host}" for host in (11, 12, 13, 14, 15)]))
    return [
        RealServer(
            name=name,
            address=IPAddress(host),
            ike_port=draw(st.sampled_from([0, 5000])),
            nat_t_port=draw(st.sampled_from([0, 5001])),
            weight=draw(st.sampled_from([0, 1, 100, 65535])),
            state=draw(st.sampled_from(AdminState)),
            max_sessions=draw(st.integers(0, 3)),
        )
        for name, host in zip(names, hosts, strict=False)
    ]


@st.composite
def services(draw: st.DrawFn, name: str, number: int) -> Service:
    network = draw(st.sampled_from([f"10.0.{number}.", f"2001:db8:0:{number}::"]))
    source = draw(st.sampled_from(Source))
    pools = [[], [f"{network}100"], [f"{network}20-{network}29", f"{network}31"]] if source is Source.SNAT else [[]]
    return Service(
        name=name,
        address=IPAddress(f"{network}1"),
        ike_port=draw(st.sampled_from([500, 1500])),
        nat_t_port=draw(st.sampled_from([4500, 14500])),
        source=source,
        snat_addresses=draw(st.sampled_from(pools)),
        port_following=draw(st.booleans()),
        scheduler=draw(st.sampled_from(SchedulerKind)),
        persistence=draw(st.sampled_from(PersistenceKind)),
        persistence_timeout_s=draw(long_spans),
        persistence_prefix=draw(
            st.builds(PrefixLengths, v4=st.sampled_from([32, 24, 0]), v6=st.sampled_from([128, 0]))
        ),
        slow_start_s=draw(st.sampled_from([Duration(0), Duration(90)])),
        timeouts=draw(st.sampled_from([Timeouts(), Timeouts(half_open_s=Duration(0.25), ike_idle_s=Duration(3661))])),
        health=draw(
            st.builds(
                Health,
                type=st.sampled_from([kind for kind in HealthKind if kind is not HealthKind.TCP]),
                command=st.sampled_from([["/bin/probe", '"{address}" # \\ \t é', "  "], ["x"]]),
                timeout_s=spans(100, 5000),
                fall=st.integers(1, 4),
            )
        ),
        agent=draw(st.sampled_from([Agent(), Agent(path="/x?y=1#z", port=80)])),
        real_servers=draw(real_servers(network)),
    )


@st.composite
def configs(draw: st.DrawFn) -> Config:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    numbers = draw(st.permutations(range(4)))
    engine = st.builds(
        EngineSection,
        control_socket=st.sampled_from(["", "/run/x.sock"]),
        fast_path=st.sampled_from(FastPath),
        max_sessions=st.integers(1, 3),
        log_level=st.sampled_from(LogLevel),
        metrics=st.builds(Metrics, listen=st.sampled_from(["", "127.0.0.1:9466", "[::1]:1"])),
    )
    return Config(
        engine=draw(engine),
        services=[draw(services(name, number)) for name, number in zip(names, numbers, strict=False)],
    )


@st.composite
def variations(draw: st.DrawFn, config: Config) -> Config:
    """Configurations that share entries with `config`: some renamed, gone, moved or changed."""
    other = draw(configs())
    kept = draw(st.lists(st.sampled_from(config.services), unique_by=id)) if config.services else []
    varied = []
    for service in kept:
        servers = draw(st.lists(st.sampled_from(service.real_servers), unique_by=id)) if service.real_servers else []
        servers = [replace(server, weight=draw(st.sampled_from([server.weight, 7]))) for server in servers]
        if servers and draw(st.booleans()):
            servers[0] = replace(servers[0], name="renamed")
        varied.append(replace(service, real_servers=servers))
    return replace(config, engine=draw(st.sampled_from([config.engine, other.engine])), services=varied)


@st.composite
def spellings(draw: st.DrawFn, config: Config) -> str:
    """TOML that says `config`, as different people write it; `key = value # kept` marks every key."""
    table = to_table(config) if draw(st.booleans()) else to_short_table(config)
    if draw(st.integers(0, 4)) == 0:
        return tomli_w.dumps(table)
    lines = draw(st.sampled_from([[], ["# the file", ""], ["# one", "# two"]])) + _spell(draw, "", table)
    text = draw(st.sampled_from(["\n", "\r\n"])).join(lines)
    return text + draw(st.sampled_from(["", "\n", "\n\n"]))


def _spell(draw: st.DrawFn, header: str, table: Mapping[str, Any]) -> list[str]:
    keys: list[str] = []
    tables: list[str] = []
    for name, value in table.items():
        match value:
            case Mapping() if value:
                match draw(st.sampled_from(["table", "inline", "dotted"])):
                    case "inline":
                        keys.append(f"{name} = {_inline(value)}  # kept")
                    case "dotted":
                        keys += [f"  {name}.{key} = {_inline(inner)} # kept" for key, inner in value.items()]
                    case _:
                        tables += [*_gap(draw), f"[{_join(header, name)}] # kept"]
                        tables += _spell(draw, _join(header, name), value)
            case [Mapping(), *_] if draw(st.integers(0, 3)):
                for entry in value:
                    tables += [*_gap(draw), f"[[{_join(header, name)}]]", *_spell(draw, _join(header, name), entry)]
            case _:
                keys.append(f"{name} = {_inline(value)} # kept")
    return keys + tables


def _gap(draw: st.DrawFn) -> list[str]:
    return draw(
        st.sampled_from([[], [""], ["", "# about the next"], ["", "# kept", "", "# about the next"], ["# kept"]])
    )


def _inline(value: object) -> str:
    match value:
        case Mapping():
            return "{ " + ", ".join(f"{key} = {_inline(inner)}" for key, inner in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case _:
            return tomli_w.dumps({"x": value}).removeprefix("x = ").strip()


def _join(header: str, name: str) -> str:
    return f"{header}.{name}" if header else name
