"""The filter line: what its words mean, what is refused, what is offered while it is typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config.schema import PersistenceKind
from engine.sessions.filter_line import MAX_WORDS, BadWord, complete, parse
from engine.sessions.query import totals
from engine.sessions.session import Session
from engine.wire.build import build_message, vendor_payload
from engine.wire.notifies import NotifyType
from tests.engine.sessions.session_world import IKE, NAT_T, World, complaint, esp, init

WINDOWS = bytes.fromhex("1e2b516905991c7d7c96fcbfb587e46100000009")
STRONGSWAN = bytes.fromhex("882fe56d6fd20dbc2251613b2ebe5beb")
NAMES = {"server": ["rras-1", "rras-2", "sswan"], "service": ["vpn"]}


@pytest.fixture(scope="module")
def world() -> World:
    """Two tunnels on each of two servers, the third client with traffic, and one half-open session."""
    world = World(servers="ab", persistence=PersistenceKind.SOURCE_ADDRESS)
    for number in range(1, 5):
        world.connect(f"198.51.100.{number}", 0xABC0 + number)
        if number == 2:
            world.server_sends(("198.51.100.2", 500), IKE, complaint(0xABC2, NotifyType.INVALID_KE_PAYLOAD))
        world.later(1)
    world.client_sends(("198.51.100.3", 4500), NAT_T, esp() * 50)
    scanner = ("2001:db8::9", 500, 0, 0)
    world.client_sends(scanner, IKE, init(0xFFFF_0000_0000_0001))
    world.server_sends(scanner, IKE, complaint(0xFFFF_0000_0000_0001, NotifyType.NO_PROPOSAL_CHOSEN))
    first, second, third, *_ = world.sessions()
    for session, vendor_id in ((first, WINDOWS), (second, WINDOWS), (third, STRONGSWAN)):
        session.init_message = build_message([vendor_payload(vendor_id)], spi_i=session.spis[0][0])
    third.esp_in, third.esp_out = (0xC1000A17,), (0x7DE10B02, 0x7DE10B01)
    world.service.persistence.pin("198.51.100.2/32", world.server("b"), world.now_s)
    return world


def found(world: World, line: str) -> list[str]:
    return [session.host.rpartition(".")[2] for session in parse(line).among(world.sessions(), world.now_s)]


@pytest.mark.parametrize(
    ("line", "hosts"),
    [
        ("", ["1", "2", "3", "4", "2001:db8::9"]),
        ("server:b", ["2", "4"]),
        ("SERVER:B", ["2", "4"]),
        ("server:a server:b", ["1", "2", "3", "4", "2001:db8::9"]),
        ("server:b phase:established", ["2", "4"]),
        ("server:b phase:init", []),
        ("!server:a !server:b", []),
        ("server:a !198.51.100.3 phase:established", ["1"]),
        ("service:v*", ["1", "2", "3", "4", "2001:db8::9"]),
        ("service:other", []),
        ("198.51.100.3", ["3"]),
        ("198.51.100.3 198.51.100.4", ["3", "4"]),
        ("198.51.100.0/30", ["1", "2", "3"]),
        ("198.51.100.", ["1", "2", "3", "4"]),
        ("client:2001:db8::/32", ["2001:db8::9"]),
        ("2001:db8:", ["2001:db8::9"]),
        ("spi:ffff", ["1", "2", "3", "4", "2001:db8::9"]),
        ("spi:ffff00", ["2001:db8::9"]),
        ("spi:0x000000000000ABC2", ["2"]),
        ("path:slow", ["1", "2", "3", "4", "2001:db8::9"]),
        ("path:fast", []),
        ("vendor:windows", ["1", "2"]),
        ("vendor:Windows*", ["1", "2"]),
        ("vendor:strongswan", ["3"]),
        ("vendor:-", ["4", "2001:db8::9"]),
        ("!vendor:- server:b", ["2"]),
        ("error:*", ["2", "2001:db8::9"]),
        ("error:no_prop", ["2001:db8::9"]),
        ("error:INVALID_KE_PAYLOAD", ["2"]),
        ("error:no_prop error:invalid", ["2", "2001:db8::9"]),
        ("spi:c1000a17", ["3"]),
        ("spi:C1", ["3"]),
        ("spi:7de1", ["3"]),
        ("spi:c1000a170", []),
        ("why:SCHEDULED", ["1", "2", "3", "4", "2001:db8::9"]),
        ("!why:scheduled", []),
        ("idle>2500ms", ["1", "2"]),
        ("idle>500ms idle<2500ms", ["4"]),
        ("age<1s", ["2001:db8::9"]),
        ("age>3s", ["1"]),
        ("in>0.5k", ["3"]),
        ("in<500 phase:established", ["1", "2", "4"]),
        ("out<100", ["2001:db8::9"]),
        ("pinned", ["2"]),
        ("!pinned server:b", ["4"]),
        ("  server:b\tphase:established ", ["2", "4"]),
    ],
)
def test_a_line_finds(world: World, line: str, hosts: list[str]) -> None:
    """Different keys must all hold, of one key any, and what has a ! not at all."""
    assert found(world, line) == hosts


@pytest.mark.parametrize(
    ("line", "word", "remedy"),
    [
        ("server:a phas:auth", "phas:auth", "no key 'phas': write one of server, service, phase"),
        ("phase:asleep", "phase:asleep", "write one of init, cookie, auth"),
        ("!path:quick", "!path:quick", "write one of slow, fast"),
        ("server:a server:", "server:", "name a server"),
        ("server", "server", "write server: and"),
        ("idle", "idle", "write idle> or idle<"),
        ("idle:60s", "idle:60s", "write idle> or idle<"),
        ("idle>60", "idle>60", 'write "60s" for seconds'),
        ("age<soon", "age<soon", "not a duration"),
        ("in>lots", "in>lots", "500k, 20M or 1.5G"),
        ("server>3", "server>3", "idle, age, in, out"),
        ("198.51.100.300", "198.51.100.300", "write one such as"),
        ("198.51.100.0/33", "198.51.100.0/33", "write one such as"),
        ("spi:xyz", "spi:xyz", "hexadecimal"),
        ("spi:12345678123456781", "spi:12345678123456781", "16 hexadecimal"),
        ("why:", "why:", "persistence"),
        ("alice", "alice", "write an address, or a condition"),
        ("server:a !", "!", "write an address, or a condition"),
        ("vendor:", "vendor:", "windows, or -"),
        ("error:", "error:", "or * for any"),
        ("phase:closed", "phase:closed", "`ikeconsole events` tells"),
        ("pinned:yes", "pinned:yes", "no key 'pinned'"),
    ],
)
def test_a_word_without_meaning_is_named_with_its_place_and_a_remedy(line: str, word: str, remedy: str) -> None:
    """The operator sees which word is wrong, and what to write instead."""
    with pytest.raises(BadWord) as refused:
        parse(line)
    assert line[refused.value.start : refused.value.end] == word
    assert str(refused.value).startswith(f"{word}: ")
    assert remedy in str(refused.value)


def test_a_line_is_bounded() -> None:
    """Every condition costs time for each session, so there are only so many."""
    parse("pinned " * MAX_WORDS)
    with pytest.raises(BadWord, match="at most"):
        parse("pinned " * (MAX_WORDS + 1))


@given(st.text(max_size=60) | st.from_regex(r"(!?(idle|in|spi|client|path)?[:<>]?[0-9a-fsm.:/%*]{0,12} ){1,4}"))
def test_any_text_is_a_filter_or_refused(line: str) -> None:
    """Whatever is typed raises nothing but the refusal, which names a word of the line."""
    refusal = None
    try:
        parse(line)
    except BadWord as error:
        refusal = error
    assert refusal is None or line[refusal.start : refusal.end] in line.split()


def holds(session: Session, now_s: float, word: str) -> bool:
    """One word's meaning, spelled out the slow way."""
    if word.startswith("!"):
        return not holds(session, now_s, word[1:])
    match word.split(":") if ":" in word else [word[:-2] if word[-1].isalpha() else word, word]:
        case ["server", name]:
            return session.server.name == name
        case ["phase", name]:
            return session.phase == name
        case _:
            meanings = {
                "idle>2s": now_s - session.last_activity_s() > 2,
                "age<2s": now_s - session.created_s < 2,
                "in>1k": totals(session).bytes_in > 1000,
                "pinned": session.host == "198.51.100.2",
                "198.51.100.4": session.host == "198.51.100.4",
                "198.51.100.1": session.host == "198.51.100.1",
            }
            return meanings[word]


KEYS = {"198.51.100.4": "client", "198.51.100.1": "client", "idle>2s": "idle>", "age<2s": "age<", "in>1k": "in>"}
WORDS = ["server:a", "server:b", "phase:init", "phase:established", "pinned", *KEYS]


@given(words=st.lists(st.tuples(st.sampled_from(["", "!"]), st.sampled_from(WORDS)), max_size=6))
def test_a_line_means_what_its_words_mean_together(world: World, words: list[tuple[str, str]]) -> None:
    """Against a plain reading of the rule: any of the same key, all keys, nothing that is negated."""

    def expected(session: Session) -> bool:
        plain = [word for sign, word in words if not sign]
        groups = [
            [w for w in plain if KEYS.get(w, w.partition(":")[0]) == key]
            for key in {KEYS.get(w, w.partition(":")[0]) for w in plain}
        ]
        return all(any(holds(session, world.now_s, w) for w in group) for group in groups) and not any(
            holds(session, world.now_s, word) for sign, word in words if sign
        )

    line = " ".join(sign + word for sign, word in words)
    assert parse(line).among(world.sessions(), world.now_s) == [s for s in world.sessions() if expected(s)]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ser|", ("server:", "service:")),
        ("server:|", ("server:rras-1", "server:rras-2", "server:sswan")),
        ("phase:auth server:rr|as-9", ("server:rras-1", "server:rras-2")),
        ("!server:s|", ("!server:sswan",)),
        ("!pin|", ("!pinned",)),
        ("Server:S|", ("server:sswan",)),
        ("phase:e|", ("phase:established",)),
        ("idle|", ("idle>", "idle<")),
        ("idle>|", ("idle>60s", "idle>5m", "idle>1h")),
        ("idle:|", ()),
        ("198.51|", ()),
        ("server:sswan|", ()),
    ],
)
def test_completion_offers_what_may_follow(line: str, offered: tuple[str, ...]) -> None:
    """The words replace the one under the cursor, and keep its negation."""
    cursor = line.index("|")
    line = line.replace("|", "")
    completion = complete(line, cursor, NAMES)
    assert completion.words == offered
    assert line[completion.start : completion.end] == next(
        (word for word in line.split() if line.index(word) < cursor <= line.index(word) + len(word)), ""
    )


def test_completion_of_nothing_offers_every_beginning() -> None:
    """An empty line, or the place after a space, teaches the keys."""
    for line in ("", "server:rras-1 "):
        words = complete(line, len(line), NAMES).words
        assert {"server:", "phase:", "idle>", "pinned"} <= set(words)


@given(st.text(max_size=30), st.integers(0, 40))
def test_completion_never_fails_and_what_it_offers_can_be_read(line: str, cursor: int) -> None:
    """Each offered word is a filter, or the beginning of one."""
    for word in complete(line, cursor, NAMES).words:
        if not word.endswith((":", "<", ">")):
            parse(word)
