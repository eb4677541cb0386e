"""What changing one real server's admin state or weight does, said before it is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from engine.config.schema import AdminState
from engine.control.records import Effect
from engine.control.status import Series
from engine.policy.candidate import Snapshot
from engine.policy.eligibility import Ineligible, why_ineligible
from engine.policy.shares import WITHOUT_WEIGHTS, long_run_shares
from engine.wording import NAMES_SPELLED, count, grouped, listed, spelled_span, staying, verb

SHORTEST_WATCH_S = 300.0
"""How long sessions must have been watched before their rate says anything."""


class Standing(msgspec.Struct, frozen=True):
    """What decides whether a real server takes new sessions: see `engine.policy.eligibility.why_ineligible`."""

    admin_state: str
    health: str
    weight: int
    sessions: int
    max_sessions: int
    agent_load: int | None

    @property
    def why_ineligible(self) -> Ineligible | None:
        """The weightiest reason why it takes none."""
        return why_ineligible(*msgspec.structs.astuple(self))


@dataclass(frozen=True, slots=True)
class Outlook:
    """A real server as a forecast sees it."""

    standing: Standing
    candidate: Snapshot
    health_reason: str
    asleep: int = 0
    """Sessions that take no place, but end with the others."""

    @property
    def name(self) -> str:
        """The name the operator gave it."""
        return self.candidate.name

    @property
    def takes_sessions(self) -> bool:
        """Whether new sessions may go to it."""
        return self.standing.why_ineligible is None

    @property
    def wanted(self) -> bool:
        """Whether the operator wants new sessions on it."""
        return self.standing.admin_state == AdminState.ENABLED and self.standing.weight > 0

    def changed(self, state: AdminState | None, weight: int | None) -> Outlook:
        """The same server as the operator wants it."""
        state = state or AdminState(self.standing.admin_state)
        weight = self.standing.weight if weight is None else weight
        return replace(
            self,
            standing=msgspec.structs.replace(self.standing, admin_state=state, weight=weight),
            candidate=msgspec.structs.replace(
                self.candidate, weight=weight, effective_weight=weight * self.candidate.eased
            ),
        )


@dataclass(frozen=True, slots=True)
class Leaving:
    """How sessions of a real server have ended lately."""

    watched_s: float = 0.0
    ended: int = 0
    oldest_s: float | None = None
    """Age of its oldest session; None: not known."""


def leaving(series: Series | None, oldest_s: float | None) -> Leaving:
    """What a series says of the sessions that ended while it ran."""
    if series is None or len(series.sessions) < 2:
        return Leaving(oldest_s=oldest_s)
    opened = sum(series.new_sessions[1:]) * series.step_s
    ended = round(series.sessions[0] + opened - series.sessions[-1])
    return Leaving((len(series.sessions) - 1) * series.step_s, max(0, ended), oldest_s)


def forecast(
    service: str,
    scheduler: str,
    servers: Sequence[Outlook],
    server: str,
    *,
    state: AdminState | None,
    weight: int | None,
    leaving: Leaving,
) -> Effect:
    """What happens to the sessions of `server` and to new clients once it has another state or weight."""
    then = [one.changed(state, weight) if one.name == server else one for one in servers]
    change = _Change(service, scheduler, servers, then, server, leaving)
    if change.before.standing == change.after.standing:
        return Effect(lines=[f"Nothing changes: {server} is already {_state_words(change.after)}."])
    return Effect(
        lines=[*change.warnings(), *change.consequences()], sessions=change.ending if change.ends_sessions else 0
    )


def emptying(sessions: int, past: Leaving) -> str:
    """How soon a real server is empty that keeps `sessions` and takes no new ones."""
    oldest = f" (oldest {spelled_span(past.oldest_s)})" if past.oldest_s is not None else ""
    if past.watched_s < SHORTEST_WATCH_S:
        return f"How soon it is empty can be told after it was watched for {spelled_span(SHORTEST_WATCH_S)}{oldest}."
    if not past.ended:
        return f"None of its sessions ended in the last {spelled_span(past.watched_s)}: this may take long{oldest}."
    left_s = sessions * past.watched_s / past.ended
    return f"At today's rate it is empty in about {spelled_span(left_s)}{oldest}."


class _Change:
    """One real server before and after, among the others of its service."""

    def __init__(
        self,
        service: str,
        scheduler: str,
        now: Sequence[Outlook],
        then: Sequence[Outlook],
        server: str,
        leaving: Leaving,
    ) -> None:
        self._service = service
        self._scheduler = scheduler
        self._leaving = leaving
        self.before = next(one for one in now if one.name == server)
        self.after = next(one for one in then if one.name == server)
        self.sessions = self.before.standing.sessions
        self.ending = self.sessions + self.before.asleep
        self._then = then
        self._shares_now = _shares(scheduler, now)
        self._shares_then = _shares(scheduler, then)
        self._others = [one.name for one in then if one is not self.after and self._shares_then.get(one.name)]

    @property
    def ends_sessions(self) -> bool:
        """Whether what the server carries ends at once."""
        disabled = AdminState.DISABLED
        return self.after.standing.admin_state == disabled != self.before.standing.admin_state

    @property
    def _withdrawn(self) -> bool:
        return self.before.wanted and not self.after.wanted

    def warnings(self) -> Iterator[str]:
        """What the operator should not overlook."""
        if not self._shares_then:
            yield f"No server of {self._service} would take new sessions: new clients are turned away."
        elif (room := self._room()) is not None and (self._withdrawn or self.ends_sessions) and room < self.sessions:
            turned_away = count(self.sessions - room, "client")
            others = f"{listed(self._others)} {'has' if len(self._others) == 1 else 'have'}"
            yield f"{others} room for only {grouped(room)} more: {turned_away} would be turned away."

    def consequences(self) -> Iterator[str]:
        """What happens to sessions and new clients."""
        if self.ends_sessions:
            yield self._ending()
        elif self._withdrawn:
            yield self._staying()
            if self.sessions:
                yield emptying(self.sessions, self._leaving)
        elif self.after.takes_sessions:
            yield from self._taking()
        else:
            yield _why_not(self.after)
        if (self._withdrawn or self.ends_sessions) and self.sessions:
            yield from self._carrying()

    def _ending(self) -> str:
        if not self.ending:
            return self._staying()
        clients = f"clients reconnect to {listed(self._others)}" if self._others else "their clients find no server"
        return f"{count(self.ending, 'session')} {verb(self.ending, 'end')} at once; {clients}."

    def _staying(self) -> str:
        stay = staying(self.sessions) if self.sessions else "It has no sessions"
        return f"{stay}; new clients go to {listed(self._others)}." if self._others else f"{stay}."

    def _taking(self) -> Iterator[str]:
        name = self.after.name
        if not self.before.takes_sessions:
            eased = self.after.candidate.eased
            slowly = f", at first {100 * eased:.0f} % of its share (slow start)" if eased < 1 else ""
            yield f"{name} takes new sessions at once{slowly}."
        elif self._scheduler in WITHOUT_WEIGHTS:
            yield f"{self._scheduler} takes no account of weights: new clients are spread as before."
            return
        shares = self._share_changes()
        yield f"No session moves; new ones: {shares}." if shares else "No session moves; new ones are spread as before."

    def _share_changes(self) -> str:
        rest = [one for one in self._then if one is not self.after]
        changed = [
            f"{one.name} {before} → {after}"
            for one in (self.after, *rest)
            if (before := _percent(self._shares_now, one)) != (after := _percent(self._shares_then, one))
        ]
        return listed(changed)

    def _carrying(self) -> Iterator[str]:
        """How full the other servers are once they have taken over."""
        others = [one for one in self._then if one.name in self._others]
        for one in others[:NAMES_SPELLED]:
            limit = one.standing.max_sessions
            carried = one.standing.sessions + round(self.sessions * self._shares_then[one.name])
            about = "" if len(others) == 1 else "about "
            full = f"{grouped(min(carried, limit))} of at most {grouped(limit)}"
            yield f"{one.name} would then carry {about}{full if limit else count(carried, 'session')}."

    def _room(self) -> int | None:
        """How many more sessions the other servers may take; None: without limit."""
        others = [one.standing for one in self._then if one.name in self._others]
        if not others or any(not one.max_sessions for one in others):
            return None
        return sum(max(0, one.max_sessions - one.sessions) for one in others)


def _shares(scheduler: str, servers: Sequence[Outlook]) -> dict[str, float]:
    return long_run_shares(scheduler, [one.candidate for one in servers if one.takes_sessions])


def _percent(shares: dict[str, float], server: Outlook) -> str:
    return f"{100 * shares.get(server.name, 0.0):.0f} %"


def _why_not(server: Outlook) -> str:
    """Why a server takes no new sessions, and until when."""
    name, standing = server.name, server.standing
    if standing.admin_state != AdminState.ENABLED:
        return f"{name} takes no new sessions, as before."
    match standing.why_ineligible:
        case Ineligible.DOWN:
            return f"{name} is down ({server.health_reason}): it takes no new sessions until its probes succeed."
        case Ineligible.FULL:
            full = f"{grouped(standing.sessions)} of {grouped(standing.max_sessions)}"
            return f"{name} is full ({full}): it takes no new sessions until some end."
        case Ineligible.NO_WEIGHT:
            return f"{name} has weight 0: it takes no new sessions until it is given a weight."
        case reason:
            return f"{name} takes no new sessions: its load {reason}."


def _state_words(server: Outlook) -> str:
    state = server.standing.admin_state
    return f"{'in drain' if state == AdminState.DRAIN else state}, with weight {server.standing.weight}"
