"""The forecast before a real server is drained, disabled, enabled or weighted otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config.schema import AdminState, SchedulerKind
from engine.control.status import Series
from engine.forecast import Leaving, Outlook, Standing, forecast, leaving
from engine.policy.candidate import Snapshot
from engine.policy.schedulers.round_robin import adaptive_shares
from engine.policy.shares import long_run_shares

WLC = "weighted-least-connections"
LATELY = Leaving(watched_s=3600, ended=190, oldest_s=28_320)
TURNED_AWAY = "No server of vpn would take new sessions: new clients are turned away."


def server(
    name: str,
    sessions: int = 0,
    *,
    state: str = "enabled",
    health: str = "up",
    weight: int = 100,
    limit: int = 0,
    eased: float = 1.0,
    rtt_s: float | None = None,
    agent_load: int | None = None,
) -> Outlook:
    """A real server of a service; `eased` is the part of its weight that slow start lets it have."""
    return Outlook(
        Standing(
            admin_state=state,
            health=health,
            weight=weight,
            sessions=sessions,
            max_sessions=limit,
            agent_load=agent_load,
        ),
        Snapshot(
            name=name,
            weight=weight,
            effective_weight=weight * eased,
            load=float(sessions),
            rtt_s=rtt_s,
            agent_load=agent_load,
        ),
        "no answer",
    )


def said(
    *servers: Outlook,
    state: AdminState | None = None,
    weight: int | None = None,
    scheduler: str = WLC,
    lately: Leaving = LATELY,
) -> list[str]:
    """What is said of changing the first of the servers."""
    name = servers[0].name
    return forecast("vpn", scheduler, servers, name, state=state, weight=weight, leaving=lately).lines


def test_draining_says_who_stays_where_others_go_and_how_long_it_takes() -> None:
    assert said(server("b", 601), server("a", 603, limit=1500), state=AdminState.DRAIN) == [
        "601 sessions stay until they end; new clients go to a.",
        "At today's rate it is empty in about 3 h 10 m (oldest 7 h 52 m).",
        "a would then carry 1 204 of at most 1 500.",
    ]


def test_weight_nothing_drains_as_well() -> None:
    drained = said(server("b", 601), server("a", 603), state=AdminState.DRAIN)
    assert said(server("b", 601), server("a", 603), weight=0) == drained


@pytest.mark.parametrize(
    ("lately", "line"),
    [
        (
            Leaving(watched_s=3600, ended=0, oldest_s=60),
            "None of its sessions ended in the last 1 h: this may take long (oldest 1 m).",
        ),
        (
            Leaving(watched_s=40, ended=9, oldest_s=None),
            "How soon it is empty can be told after it was watched for 5 m.",
        ),
    ],
)
def test_no_time_is_made_up_where_none_can_be_known(lately: Leaving, line: str) -> None:
    assert said(server("b", 6), server("a"), state=AdminState.DRAIN, lately=lately)[1] == line


def test_disabling_says_that_sessions_end_at_once_and_how_many() -> None:
    servers = [server("b", 601), server("a", 603)]
    effect = forecast("vpn", WLC, servers, "b", state=AdminState.DISABLED, weight=None, leaving=LATELY)
    assert effect.lines == [
        "601 sessions end at once; clients reconnect to a.",
        "a would then carry 1 204 sessions.",
    ]
    assert effect.sessions == 601


def test_disabling_ends_what_sleeps_as_well() -> None:
    """As on a server that is down, whose tunnels wait for it."""
    servers = [replace(server("b", 1, health="down"), asleep=600), server("a", 603)]
    effect = forecast("vpn", WLC, servers, "b", state=AdminState.DISABLED, weight=None, leaving=LATELY)
    assert effect.lines == ["601 sessions end at once; clients reconnect to a.", "a would then carry 604 sessions."]
    assert effect.sessions == 601


def test_draining_ends_no_session() -> None:
    effect = forecast("vpn", WLC, [server("b", 6)], "b", state=AdminState.DRAIN, weight=None, leaving=LATELY)
    assert effect.sessions == 0


@pytest.mark.parametrize("state", [AdminState.DRAIN, AdminState.DISABLED])
@pytest.mark.parametrize(
    "other",
    [
        server("a", health="down"),
        server("a", state="drain"),
        server("a", weight=0),
        server("a", 5, limit=5),
        server("a", agent_load=101),
    ],
)
def test_the_first_line_warns_when_no_server_would_be_left(state: AdminState, other: Outlook) -> None:
    assert said(server("b", 3), other, state=state)[0] == TURNED_AWAY


def test_too_little_room_on_the_others_is_warned_of() -> None:
    lines = said(server("b", 601), server("a", 603, limit=900), server("c", 5, limit=10), state=AdminState.DISABLED)
    assert lines[0] == "a and c have room for only 302 more: 299 clients would be turned away."
    assert lines[-2:] == ["a would then carry about 900 of at most 900.", "c would then carry about 10 of at most 10."]


def test_one_server_without_a_limit_is_room_enough() -> None:
    assert "room" not in said(server("b", 601), server("a", 5, limit=6), server("c"), state=AdminState.DRAIN)[0]


@pytest.mark.parametrize(
    ("own", "lines"),
    [
        (server("b", state="drain"), ["b takes new sessions at once.", "No session moves; new ones: {}."]),
        (
            server("b", state="drain", eased=0.1),
            [
                "b takes new sessions at once, at first 10 % of its share (slow start).",
                "No session moves; new ones: {}.",
            ],
        ),
        (
            server("b", state="disabled", health="down"),
            ["b is down (no answer): it takes no new sessions until its probes succeed."],
        ),
        (
            server("b", 7, state="drain", limit=7),
            ["b is full (7 of 7): it takes no new sessions until some end."],
        ),
        (
            server("b", state="drain", weight=0),
            ["b has weight 0: it takes no new sessions until it is given a weight."],
        ),
        (server("b", state="drain", agent_load=102), ["b takes no new sessions: its load agent says disabled."]),
        (server("b"), ["Nothing changes: b is already enabled, with weight 100."]),
    ],
)
def test_enabling_says_whether_it_takes_sessions_then(own: Outlook, lines: list[str]) -> None:
    shares = "b 0 % → 50 % and a 100 % → 50 %"
    assert said(own, server("a"), state=AdminState.ENABLED) == [line.format(shares) for line in lines]


def test_another_weight_says_how_new_sessions_are_shared_then() -> None:
    assert said(server("b", 9), server("a"), weight=300) == [
        "No session moves; new ones: b 50 % → 75 % and a 50 % → 25 %."
    ]


@pytest.mark.parametrize("scheduler", ["round-robin", "least-connections"])
def test_a_scheduler_without_weights_is_named(scheduler: str) -> None:
    assert said(server("b"), server("a"), weight=7, scheduler=scheduler) == [
        f"{scheduler} takes no account of weights: new clients are spread as before."
    ]


def test_a_weight_that_decides_nothing_is_said_to() -> None:
    assert said(server("b"), weight=7) == ["No session moves; new ones are spread as before."]
    assert said(server("b", state="drain"), server("a"), weight=7) == ["b takes no new sessions, as before."]


def test_a_series_tells_how_many_sessions_ended() -> None:
    """Five a minute came, and the count fell from 20 to 10 nevertheless."""
    series = Series(
        service="vpn",
        server="b",
        step_s=60.0,
        until_at=0.0,
        sessions=[20, 15, 10],
        new_sessions=[9.0, 5 / 60, 5 / 60],
        packets_in=[],
        bytes_in=[],
        packets_out=[],
        bytes_out=[],
    )
    assert leaving(series, 7.0) == Leaving(watched_s=120.0, ended=20, oldest_s=7.0)
    assert leaving(None, None) == Leaving()


def test_shares_follow_the_scheduler() -> None:
    quick, heavy = server("a", weight=50, rtt_s=0.01).candidate, server("b", weight=150, rtt_s=0.09).candidate
    assert long_run_shares("round-robin", [quick, heavy]) == {"a": 0.5, "b": 0.5}
    assert long_run_shares("maglev", [quick, heavy]) == {"a": 0.25, "b": 0.75}
    assert long_run_shares("fixed", [quick, heavy]) == {"a": 0.0, "b": 1.0}
    assert long_run_shares("weighted-response-time", [quick, heavy]) == {"a": 1.0, "b": 0.0}
    unmeasured = server("c", weight=200).candidate
    assert long_run_shares("weighted-response-time", [heavy, unmeasured])["c"] == pytest.approx(200 / 350)


def test_shares_of_the_adaptive_scheduler_are_those_it_schedules_by() -> None:
    candidates = [server("a", agent_load=50).candidate, server("b", agent_load=0).candidate]
    assert adaptive_shares(candidates) == {"a": 50.0, "b": 100.0}
    assert long_run_shares("adaptive", candidates) == {"a": pytest.approx(1 / 3), "b": pytest.approx(2 / 3)}


outlooks = st.builds(
    server,
    st.just("?"),
    st.integers(0, 2000),
    state=st.sampled_from(["enabled", "drain", "disabled"]),
    health=st.sampled_from(["up", "down", "unknown"]),
    weight=st.sampled_from([0, 1, 65535]),
    limit=st.sampled_from([0, 1, 1000]),
    eased=st.sampled_from([0.1, 1.0]),
    rtt_s=st.sampled_from([None, 0.001, 0.2]),
    agent_load=st.sampled_from([None, 0, 4, 100, 101, 102]),
)


@given(
    st.lists(outlooks, min_size=1, max_size=4),
    st.sampled_from(SchedulerKind),
    st.sampled_from([None, *AdminState]),
    st.sampled_from([None, 0, 1, 65535]),
)
def test_any_change_of_any_service_can_be_foretold(
    drawn: list[Outlook], scheduler: str, state: AdminState | None, weight: int | None
) -> None:
    """Something is said, sessions end only by disabling, and a service left without servers is warned of."""
    servers = [
        server(
            str(number),
            one.standing.sessions,
            state=one.standing.admin_state,
            health=one.standing.health,
            weight=one.standing.weight,
            limit=one.standing.max_sessions,
            rtt_s=one.candidate.rtt_s,
            agent_load=one.candidate.agent_load,
        )
        for number, one in enumerate(drawn)
    ]
    effect = forecast("vpn", scheduler, servers, "0", state=state, weight=weight, leaving=LATELY)
    assert effect.lines
    disabled = state is AdminState.DISABLED != servers[0].standing.admin_state
    assert effect.sessions == (servers[0].standing.sessions if disabled else 0)
    then = [servers[0].changed(state, weight), *servers[1:]]
    changed = then[0].standing != servers[0].standing
    shares = long_run_shares(scheduler, [one.candidate for one in then if one.takes_sessions])
    assert (effect.lines[0] == TURNED_AWAY) == (changed and not shares)
    assert not shares or sum(shares.values()) == pytest.approx(1)
