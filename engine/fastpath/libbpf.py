"""The functions of libbpf.so.1 that the fast path calls, declared for ctypes, and what libbpf prints meanwhile.

Functions answer with a negative errno where they fail; those that return a pointer answer None and set the errno.
"""

from __future__ import annotations

import ctypes
import logging
from collections import deque
from ctypes import POINTER, c_char, c_char_p, c_int, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import Final, TypeVar

from engine.fastpath.errors import BpfError, refusal

log = logging.getLogger(__name__)

# linux/bpf.h and linux/if_link.h
BPF_ANY: Final = 0
BPF_SK_LOOKUP: Final = 36
BPF_XDP: Final = 37
BPF_F_TEST_XDP_LIVE_FRAMES: Final = 1 << 1
XDP_FLAGS_SKB_MODE: Final = 1 << 1
XDP_FLAGS_DRV_MODE: Final = 1 << 2
XDP_ATTACHED_DRV: Final = 1
XDP_ATTACHED_SKB: Final = 2

_LINES_KEPT = 40
_LIBBPF_DEBUG = 2


class LinkOptions(ctypes.Structure):
    """The part of struct bpf_link_create_opts that XDP uses; libbpf takes the rest for zeros."""

    _fields_ = (("sz", c_size_t), ("flags", c_uint32))


class RunOptions(ctypes.Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_char_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class XdpContext(ctypes.Structure):
    """struct xdp_md."""

    _fields_ = (
        ("data", c_uint32),
        ("data_end", c_uint32),
        ("data_meta", c_uint32),
        ("ingress_ifindex", c_uint32),
        ("rx_queue_index", c_uint32),
        ("egress_ifindex", c_uint32),
    )


class XdpQueryOptions(ctypes.Structure):
    """struct bpf_xdp_query_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("prog_id", c_uint32),
        ("drv_prog_id", c_uint32),
        ("hw_prog_id", c_uint32),
        ("skb_prog_id", c_uint32),
        ("attach_mode", c_uint8),
    )


class ProgramInfo(ctypes.Structure):
    """The beginning of struct bpf_prog_info."""

    _fields_ = (("type", c_uint32), ("id", c_uint32), ("unused", c_char * 56), ("name", c_char * 16))


class MapInfo(ctypes.Structure):
    """The beginning of struct bpf_map_info."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", c_char * 16),
    )


class LinkInfo(ctypes.Structure):
    """The part of struct bpf_link_info that XDP uses."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("unused", c_uint32),
        ("ifindex", c_uint32),
    )


_Info = TypeVar("_Info", ProgramInfo, MapInfo, LinkInfo)

_PrintFunction = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
_object = _map = _program = c_void_p
_descriptor = c_int
_count = POINTER(c_uint32)

_FUNCTIONS: Final[dict[str, tuple[type | None, tuple[type, ...]]]] = {
    "libbpf_set_print": (c_void_p, (_PrintFunction,)),
    "libbpf_num_possible_cpus": (c_int, ()),
    "libbpf_version_string": (c_char_p, ()),
    "bpf_object__open_file": (_object, (c_char_p, c_void_p)),
    "bpf_object__load": (c_int, (_object,)),
    "bpf_object__close": (None, (_object,)),
    "bpf_object__find_map_by_name": (_map, (_object, c_char_p)),
    "bpf_object__find_program_by_name": (_program, (_object, c_char_p)),
    "bpf_map__fd": (_descriptor, (_map,)),
    "bpf_map__set_max_entries": (c_int, (_map, c_uint32)),
    "bpf_program__fd": (_descriptor, (_program,)),
    "bpf_map_lookup_elem": (c_int, (_descriptor, c_void_p, c_void_p)),
    "bpf_map_update_elem": (c_int, (_descriptor, c_void_p, c_void_p, c_uint64)),
    "bpf_map_delete_elem": (c_int, (_descriptor, c_void_p)),
    "bpf_map_get_next_key": (c_int, (_descriptor, c_void_p, c_void_p)),
    "bpf_obj_pin": (c_int, (_descriptor, c_char_p)),
    "bpf_obj_get": (_descriptor, (c_char_p,)),
    "bpf_prog_test_run_opts": (c_int, (_descriptor, POINTER(RunOptions))),
    "bpf_prog_get_fd_by_id": (_descriptor, (c_uint32,)),
    "bpf_obj_get_info_by_fd": (c_int, (_descriptor, c_void_p, _count)),
    "bpf_link_create": (_descriptor, (_descriptor, c_int, c_int, POINTER(LinkOptions))),
    "bpf_link_update": (c_int, (_descriptor, _descriptor, c_void_p)),
    "bpf_xdp_query": (c_int, (c_int, c_int, POINTER(XdpQueryOptions))),
}

_last_lines: deque[str] = deque(maxlen=_LINES_KEPT)


@cache
def library() -> ctypes.CDLL:
    """The library, loaded at the first call; its functions have their types.

    Raises:
        BpfError: this machine does not have it, or only one that is too old.
    """
    found = _declared(ctypes.CDLL)
    found.libbpf_set_print(_keep_lines)
    return found


@cache
def prompt_library() -> ctypes.CDLL:
    """The library for calls of about a microsecond, which keep the interpreter's lock; raises like `library`.

    To give it up and win it back from a busy console takes longer than such a call.
    """
    library()
    return _declared(ctypes.PyDLL)


def _declared(loader: type[ctypes.CDLL]) -> ctypes.CDLL:
    try:
        found = loader("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise BpfError("libbpf.so.1 is missing: install the package libbpf1 (Debian, Ubuntu) or libbpf") from error
    for name, (result, arguments) in _FUNCTIONS.items():
        try:
            function = getattr(found, name)
        except AttributeError as error:
            raise BpfError(f"libbpf.so.1 is too old, it lacks {name}: install libbpf 1.0 or later") from error
        function.restype, function.argtypes = result, arguments
    return found


def describe(fd: int, info: _Info) -> _Info:
    """Fill in what the kernel tells about the map, program or link of a descriptor; raises BpfError."""
    size_bytes = c_uint32(ctypes.sizeof(info))
    answer = library().bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size_bytes))
    if answer < 0:
        raise refusal("cannot ask the kernel about a BPF map, program or link", answer)
    return info


def last_lines() -> list[str]:
    """The latest lines that libbpf printed, at most 40; they are handed out once."""
    lines = list(_last_lines)
    _last_lines.clear()
    return lines


_libc = ctypes.CDLL(None)
_vasprintf = _libc.vasprintf
_vasprintf.argtypes, _vasprintf.restype = (POINTER(c_void_p), c_char_p, c_void_p), c_int
_free = _libc.free
_free.argtypes, _free.restype = (c_void_p,), None


def _keep(level: int, template: bytes, arguments: int) -> int:
    if level >= _LIBBPF_DEBUG:
        return 0
    text = c_void_p()
    size_bytes = _vasprintf(ctypes.byref(text), template, arguments)
    if size_bytes < 0 or text.value is None:
        return 0
    lines = ctypes.string_at(text.value, size_bytes).decode(errors="replace").splitlines()
    _free(text)
    _last_lines.extend(lines)
    for line in lines:
        log.debug("%s", line)
    return 0


_keep_lines = _PrintFunction(_keep)
"""Without it libbpf prints on standard error, where the console is. C holds no reference, so this name must."""
