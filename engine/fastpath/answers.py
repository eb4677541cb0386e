"""What real servers send to snat flows that have no sockets of their own, handed to one socket by the kernel."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Final, Self

from engine.fastpath import libbpf
from engine.fastpath.bpf import Object
from engine.fastpath.errors import refusal
from engine.fastpath.libbpf import library
from engine.fastpath.maps import Map

OBJECT = Path(__file__).with_name("answers.bpf.o")
NAMESPACE = "/proc/thread-self/ns/net"
MAX_SOURCES: Final = 4096
MAX_ENDPOINTS: Final = 8192

_ADDRESS_BYTES = 16
_SOCKET_AT = {socket.AF_INET: 0, socket.AF_INET6: 1}
_PORT = Struct("!HH")
"""port, zero"""
_PORT_RANGE = Struct("=HH")
"""first, last"""
_PRESENT = b"\1"


class Answers:
    """The program on this network namespace, for as long as it is open: it leaves nothing behind.

    Connected sockets come first, so probes and sockets of single flows get what is theirs.
    """

    def __init__(self, catch_alls: Mapping[socket.AddressFamily, socket.socket], ports: range) -> None:
        """Have answers to some ports of the addresses that `follow` names delivered to a socket for each family.

        Raises:
            BpfError: libbpf, a privilege or a feature of the kernel is missing.
        """
        self._ports = _PORT_RANGE.pack(ports.start, ports.stop - 1)
        self._written: dict[str, dict[bytes, bytes]] = {"sources": {}, "servers": {}}
        self._object = Object.open(OBJECT)
        try:
            self._object.load()
            self._maps: dict[str, Map] = {name: self._object.map(name) for name in self._written}
            delivered = self._object.map("catch_alls")
            for family, catch_all in catch_alls.items():
                delivered.update(_number(_SOCKET_AT[family], 4), _number(catch_all.fileno(), 8))
            self._link = _attach(self._object.program("answers").fd)
        except BaseException:
            self._object.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        os.close(self._link)
        self._object.close()

    def follow(self, sources: Collection[str], endpoints: Collection[tuple[str, int]]) -> bool:
        """Deliver what these (address, UDP port) send to these addresses, and nothing else; raises BpfError.

        False: they are too many, and nothing is delivered.
        """
        if len(sources) > MAX_SOURCES or len(endpoints) > MAX_ENDPOINTS:
            sources = endpoints = ()
        self._write("sources", {_address(host): self._ports for host in sources})
        self._write("servers", {_address(host) + _PORT.pack(port, 0): _PRESENT for host, port in endpoints})
        return bool(sources)

    def _write(self, name: str, wanted: dict[bytes, bytes]) -> None:
        written, kernel = self._written[name], self._maps[name]
        for key in written.keys() - wanted.keys():
            kernel.delete(key)
            del written[key]
        for key in wanted.keys() - written.keys():
            kernel.update(key, wanted[key])
            written[key] = wanted[key]


def _attach(program_fd: int) -> int:
    namespace = os.open(NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        link = library().bpf_link_create(program_fd, namespace, libbpf.BPF_SK_LOOKUP, None)
    finally:
        os.close(namespace)
    if link < 0:
        raise refusal("cannot put the socket lookup program on the network namespace", link)
    return int(link)


def _address(host: str) -> bytes:
    return ip_address(host.partition("%")[0]).packed.ljust(_ADDRESS_BYTES, b"\0")


def _number(value: int, size_bytes: int) -> bytes:
    return value.to_bytes(size_bytes, "little")
