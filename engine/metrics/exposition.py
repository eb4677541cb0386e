"""The text format of Prometheus, written sample by sample.

The library's own writer makes all samples of all families in one go, at 6 to 8 µs each: with 2 500 real servers the
forwarder would wait 300 ms for it. This one takes 1 µs, and can be left alone between any two samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """What samples of one name have in common."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str


def label(name: str, value: str) -> str:
    """A label as it stands between the braces of a sample."""
    return f'{name}="{value.translate(_ESCAPES)}"'


class Page:
    """Samples, which the format wants together by family in whatever order they come."""

    def __init__(self) -> None:
        self._samples: dict[Family, list[str]] = {}

    def add(self, family: Family, value: float, *labels: str) -> None:
        """Write a sample with `labels` made by `label`, or several of them with commas between."""
        named = f"{{{','.join(labels)}}}" if labels else ""
        self._samples.setdefault(family, []).append(f"{family.name}{named} {float(value)!r}\n")

    def parts(self) -> Iterator[bytes]:
        """The text, a family at a time."""
        for family, samples in self._samples.items():
            head = f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"
            yield (head + "".join(samples)).encode()
