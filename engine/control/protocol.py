"""JSON-RPC 2.0 messages, one JSON document a line, as they cross the control socket."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from engine.control.api import Refused
from engine.control.captured import Captured
from engine.control.records import Event

PROTOCOL = 1
"""Version of the calls and records; raised when an old client would misread a new engine."""

MAX_MESSAGE_BYTES = 8 << 20
"""Longest line either side accepts, newline included: room for the status of some ten thousand real servers."""

MAX_DETAILS = 1_000
MAX_TEXT_CHARACTERS = 500
"""What is left of a refusal that would be too long: so many lines of details, each of so many characters at most."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
WRONG_PROTOCOL = -32010
TOO_MANY_CONNECTIONS = -32011

REFUSED_CODES = {
    "not-found": -32001,
    "invalid": -32002,
    "conflict": -32003,
    "denied": -32004,
    "failed": -32005,
}
"""Error code of each kind of `Refused`, in JSON-RPC's range for server errors."""


class MessageError(Exception):
    """A message that breaks the protocol; `code` is its JSON-RPC error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ErrorData(msgspec.Struct, frozen=True):
    """What a refusal says beside its message."""

    kind: str = ""
    details: list[str] = []


class ErrorObject(msgspec.Struct, frozen=True):
    """The error member of a response."""

    code: int
    message: str
    data: ErrorData = ErrorData()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A call; it must carry an id, as every call here has an answer."""

    jsonrpc: Literal["2.0"] = "2.0"
    id: int | str
    method: str
    params: Raw = Raw(b"{}")


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """What a client receives: a response, or the notification of what it follows."""

    jsonrpc: Literal["2.0"] = "2.0"
    id: int | str | None = None
    result: Raw | UnsetType = UNSET
    error: ErrorObject | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: Raw | UnsetType = UNSET


class _Result(msgspec.Struct, frozen=True, kw_only=True):
    jsonrpc: Literal["2.0"] = "2.0"
    id: int | str
    result: Any


class _Error(msgspec.Struct, frozen=True, kw_only=True):
    jsonrpc: Literal["2.0"] = "2.0"
    id: int | str | None
    error: ErrorObject


class _Notification(msgspec.Struct, frozen=True, kw_only=True):
    jsonrpc: Literal["2.0"] = "2.0"
    method: str
    params: Event | Captured


class LineBuffer:
    """Cuts a byte stream into lines of `most_bytes`; bounded when every line is popped before the next feed."""

    def __init__(self, most_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.most_bytes = most_bytes
        self._bytes = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._bytes += data

    def pop(self) -> bytes | None:
        """The next whole line without its newline, None when more bytes are needed; raises `MessageError`."""
        end = self._bytes.find(b"\n", self._searched)
        if (len(self._bytes) if end < 0 else end + 1) > self.most_bytes:
            raise MessageError(PARSE_ERROR, f"message longer than {self.most_bytes} bytes")
        if end < 0:
            self._searched = len(self._bytes)
            return None
        line = bytes(self._bytes[:end])
        del self._bytes[: end + 1]
        self._searched = 0
        return line


def decode(data: bytes | Raw, as_type: type[Any], *, invalid_code: int) -> Any:
    """A JSON document as a record of one type; raises `MessageError`, with `invalid_code` for good JSON of
    another shape.
    """
    try:
        return msgspec.json.decode(data, type=as_type)
    except msgspec.ValidationError as error:
        raise MessageError(invalid_code, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(PARSE_ERROR, f"not JSON: {error}") from error


def decode_request(line: bytes) -> Request:
    """One request of a client; raises `MessageError`."""
    request: Request = decode(line, Request, invalid_code=INVALID_REQUEST)
    return request


def decode_incoming(line: bytes) -> Incoming:
    """One message of the engine; raises `MessageError`."""
    incoming: Incoming = decode(line, Incoming, invalid_code=INVALID_REQUEST)
    return incoming


def encode_request(request_id: int, method: str, params: msgspec.Struct) -> bytes:
    """The line that asks for a method."""
    return _line(Request(id=request_id, method=method, params=Raw(msgspec.json.encode(params))))


def encode_result(request_id: int | str, result: object) -> bytes:
    """The line that answers a request; raises `Refused` when the answer would be too long."""
    line = _line(_Result(id=request_id, result=result))
    if len(line) > MAX_MESSAGE_BYTES:
        raise Refused("invalid", f"the answer is longer than {MAX_MESSAGE_BYTES} bytes: ask for less at a time")
    return line


def encode_error(request_id: int | str | None, error: MessageError | Refused) -> bytes:
    """The line that refuses a request, cut where it would be too long; without an id when that could not be read."""
    match error:
        case Refused():
            code = REFUSED_CODES.get(error.kind, INTERNAL_ERROR)
            data = ErrorData(kind=error.kind, details=error.details)
        case MessageError():
            code, data = error.code, ErrorData()
    line = _line(_Error(id=request_id, error=ErrorObject(code=code, message=error.message, data=data)))
    if len(line) <= MAX_MESSAGE_BYTES:
        return line
    cut = ErrorObject(code=code, message=_shortened(error.message), data=ErrorData(data.kind, _first(data.details)))
    return _line(_Error(id=request_id, error=cut))


def encode_event(event: Event) -> bytes:
    """The line that tells a subscriber of an event."""
    return _line(_Notification(method="event", params=event))


def encode_captured(captured: Captured) -> bytes:
    """The line that tells a client what it captures."""
    return _line(_Notification(method="captured", params=captured))


def _first(details: list[str]) -> list[str]:
    more = len(details) - MAX_DETAILS
    first = [_shortened(line) for line in details[:MAX_DETAILS]]
    return [*first, f"… and {more} more lines"] if more > 0 else first


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARACTERS else f"{text[:MAX_TEXT_CHARACTERS]}…"


def _line(message: msgspec.Struct) -> bytes:
    return msgspec.json.encode(message) + b"\n"
