"""JSON-RPC messages: any bytes give a request or one kind of error, and framing survives any chunking."""

from __future__ import annotations

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control import calls, protocol
from engine.control.api import Refused
from engine.control.protocol import LineBuffer, MessageError
from engine.control.records import SessionQuery

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
REQUEST_LIKE = st.fixed_dictionaries(
    {},
    optional={"jsonrpc": st.just("2.0") | JSON, "id": JSON, "method": st.text() | JSON, "params": JSON},
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_line_decodes_or_raises_message_error(line: bytes) -> None:
    for decode in (protocol.decode_request, protocol.decode_incoming):
        with suppress(MessageError):
            decode(line)


@given(REQUEST_LIKE)
def test_requests_decode_exactly_when_they_have_the_shape_of_one(message: dict[str, object]) -> None:
    identity = message.get("id")
    good = (
        message.get("jsonrpc", "2.0") == "2.0"
        and isinstance(message.get("method"), str)
        and isinstance(identity, int | str)
        and not isinstance(identity, bool)
    )
    line = json.dumps(message).encode()
    if good:
        request = protocol.decode_request(line)
        assert (request.id, request.method) == (identity, message["method"])
    else:
        with pytest.raises(MessageError) as caught:
            protocol.decode_request(line)
        assert caught.value.code == protocol.INVALID_REQUEST


def test_deep_nesting_is_a_parse_error_and_not_a_crash() -> None:
    with pytest.raises(MessageError) as caught:
        protocol.decode_request(b'{"id":1,"x":' + b"[" * 100_000)
    assert caught.value.code == protocol.PARSE_ERROR


@given(st.lists(JSON, max_size=5), st.data())
def test_lines_are_the_same_however_the_stream_is_cut(documents: list[object], data: st.DataObject) -> None:
    lines = [msgspec.json.encode(document) for document in documents]
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    buffer, got = LineBuffer(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer.feed(stream[start:end])
        while (line := buffer.pop()) is not None:
            got.append(line)
    assert got == lines


@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_a_line_may_be_as_long_as_the_limit_and_not_a_byte_more(newline: bytes) -> None:
    longest = protocol.MAX_MESSAGE_BYTES - len(newline)
    buffer = LineBuffer()
    buffer.feed(b"x" * longest + newline)
    assert buffer.pop() == (b"x" * longest if newline else None)
    buffer = LineBuffer()
    buffer.feed(b"x" * (longest + 1) + newline)
    with pytest.raises(MessageError):
        buffer.pop()


@given(st.integers(), st.builds(SessionQuery, client=st.none() | st.text(), limit=st.integers(0, 10**6)))
def test_a_call_arrives_as_it_was_made(number: int, query: SessionQuery) -> None:
    call = calls.ListSessions(query=query)
    request = protocol.decode_request(protocol.encode_request(number, call.method, call).removesuffix(b"\n"))
    assert (request.id, request.method) == (number, "sessions")
    received = protocol.decode(request.params, calls.ListSessions, invalid_code=protocol.INVALID_PARAMS)
    assert received == call


@pytest.mark.parametrize("kind", sorted(protocol.REFUSED_CODES))
def test_a_refusal_keeps_its_kind_and_details(kind: str) -> None:
    line = protocol.encode_error(5, Refused(kind, "no", ["because"]))
    message = protocol.decode_incoming(line)
    assert message.id == 5
    assert message.error == protocol.ErrorObject(
        code=protocol.REFUSED_CODES[kind],
        message="no",
        data=protocol.ErrorData(kind=kind, details=["because"]),
    )


def test_an_answer_too_long_to_send_is_refused_instead() -> None:
    with pytest.raises(Refused, match="ask for less"):
        protocol.encode_result(1, "x" * protocol.MAX_MESSAGE_BYTES)


def test_unknown_parameters_are_an_error_so_that_no_condition_is_ignored() -> None:
    with pytest.raises(MessageError) as caught:
        protocol.decode(b'{"client":"a","srever":"b"}', calls.Move, invalid_code=protocol.INVALID_PARAMS)
    assert caught.value.code == protocol.INVALID_PARAMS
    assert "server" in caught.value.message or "srever" in caught.value.message


@pytest.mark.parametrize("text", ["x", "\x1b"], ids=["plain", "escaped"])
def test_a_refusal_too_long_to_send_arrives_with_what_fits(text: str) -> None:
    line = protocol.encode_error(
        5, Refused("conflict", text * protocol.MAX_MESSAGE_BYTES, ["short", text * 9_000, *["more"] * 500_000])
    )
    buffer = LineBuffer()
    buffer.feed(line)
    received = buffer.pop()
    assert received is not None
    error = protocol.decode_incoming(received).error
    assert isinstance(error, protocol.ErrorObject)
    assert (error.code, error.data.kind) == (protocol.REFUSED_CODES["conflict"], "conflict")
    assert error.message.startswith(text)
    assert (error.data.details[0], error.data.details[-1]) == ("short", "… and 499002 more lines")
