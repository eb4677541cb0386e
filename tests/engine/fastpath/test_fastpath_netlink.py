"""Questions over netlink: what the kernel refuses becomes one kind of error, and nothing else does."""

from __future__ import annotations

import errno

import pytest
from bpf_objects import ip, private_network, require_bpf
from hypothesis import given
from hypothesis import strategies as st

from engine.fastpath import netlink
from engine.fastpath.netlink import DUMP, Netlink, NetlinkError, attribute, attributes, message, messages

GET_LINK, NEW_LINK = 18, 16
ANY_LINK = bytes(16)


class ScriptedSocket:
    """Answers each question with the next datagrams of a script, under the question's number."""

    def __init__(self, script: list[list[tuple[int, int]]]) -> None:
        self._script = iter(script)
        self._waiting: list[bytes] = []

    def __call__(self, *_: object) -> ScriptedSocket:
        return self

    def settimeout(self, _: float) -> None: ...

    def setsockopt(self, *_: object) -> None: ...

    def close(self) -> None: ...

    def send(self, question: bytes) -> None:
        ((_, _, number, _),) = messages(question)
        self._waiting = [message(kind, bytes(4), flags, number) for kind, flags in next(self._script)]

    def recv(self, _: int) -> bytes:
        if not self._waiting:
            raise TimeoutError("timed out")
        return self._waiting.pop(0)


@given(st.binary(max_size=200), st.integers(0, 20))
def test_bytes_of_any_sort_are_taken_apart(datagram: bytes, offset: int) -> None:
    """Neither messages nor attributes raise, whatever the bytes say of their lengths."""
    for _, _, _, body in messages(datagram):
        attributes(body, offset)
    attributes(datagram, offset)


@given(st.dictionaries(st.integers(1, 60), st.binary(max_size=30)))
def test_attributes_come_back_as_they_were_packed(wanted: dict[int, bytes]) -> None:
    """Padding belongs to no attribute, and to no message."""
    packed = b"".join(attribute(kind, payload) for kind, payload in wanted.items())
    two = message(7, packed, 1, 5) + message(8, packed, 2, 6)
    assert [(kind, flags, number) for kind, flags, number, _ in messages(two)] == [(7, 1, 5), (8, 2, 6)]
    assert all(attributes(body) == wanted for *_, body in messages(two))


def test_a_refusal_says_what_the_kernel_says() -> None:
    """The kernel's own words on what is wrong are part of the message."""
    require_bpf()
    with private_network(), Netlink() as kernel, pytest.raises(NetlinkError, match="Unknown device type") as refused:
        kernel.ask(NEW_LINK, ANY_LINK + attribute(18, attribute(1, b"nothing\0")), 0x600)
    assert refused.value.errno == errno.EOPNOTSUPP


def test_answers_are_those_to_the_question() -> None:
    """What is left of the outcomes of an earlier request is not taken for an answer."""
    require_bpf()
    with private_network(), Netlink() as kernel:
        ip("link add left type veth peer right")
        kernel.tell(NEW_LINK, [ANY_LINK, ANY_LINK])
        assert len(kernel.ask(GET_LINK, ANY_LINK, DUMP)) == 3


def test_a_listing_that_changed_meanwhile_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of an old list and half of a new one is no list."""
    interrupted = 0x10
    script = [[(16, interrupted), (16, 0), (3, 0)], [(16, 0), (3, 0)]]
    monkeypatch.setattr(netlink, "socket", ScriptedSocket(script))
    with Netlink() as kernel:
        assert kernel.ask(GET_LINK, ANY_LINK, DUMP) == [bytes(4)]


def test_silence_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that does not answer does not hang the engine."""
    monkeypatch.setattr(netlink, "socket", ScriptedSocket([[]]))
    with Netlink() as kernel, pytest.raises(NetlinkError, match="timed out"):
        kernel.ask(GET_LINK, ANY_LINK)


@pytest.mark.parametrize(("code", "remedy"), [(errno.EAFNOSUPPORT, "RestrictAddressFamilies"), (errno.EPERM, "root")])
def test_where_there_is_no_asking_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, code: int, remedy: str) -> None:
    """A sandbox without netlink sockets, or too few privileges: the message says what to do."""

    def refuse(*_: object) -> None:
        raise OSError(code, "refused")

    monkeypatch.setattr(netlink, "socket", refuse)
    with pytest.raises(NetlinkError, match=remedy):
        Netlink()
