"""The committed BPF objects are what their sources make, and Python reads and writes its records as C lays them out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bpf_objects import require_bpf
from fastpath_world import HOP_AGE_SHIFT, Ends

from engine.fastpath import answers, layout
from engine.fastpath.layout import (
    CONTROL,
    EGRESS,
    FLOW_V4,
    FLOW_V6,
    SERVICE_END,
    SHIELD,
    TALLY,
    TOTAL,
    TRACK,
    Outcome,
    Reason,
    ShieldFlag,
    State,
)
from engine.fastpath.program import OBJECT

ROOT = Path(__file__).parents[3]
SPI = 0x01020304

RECORDS: dict[str, tuple[str, bytes]] = {
    "track": (
        "struct track, .destination = {1, 2, 3, 4, 5, 6}, .source = {7, 8, 9, 10, 11, 12}, .epoch = 13, .vlan = 14,"
        " .mtu_bytes = 15, .port = 16, .state = 17, .total = 18, .last_used = 19, .packets = 20,"
        f" .esp_spi = {SPI}, .bytes = 21",
        TRACK.pack(
            bytes(range(1, 7)),
            bytes(range(7, 13)),
            *(13, 14, 15, 16, 17, 18, 19, 20),
            SPI.to_bytes(4, sys.byteorder),
            21,
        ),
    ),
    "egress": ("struct egress, .port = 1, .vlan = 2", EGRESS.pack(1, 2)),
    "total": ("struct total, .packets = 1, .bytes = 2", TOTAL.pack(1, 2)),
    "control": (
        "struct control, .seeds = {1, 2}, .mask_v4 = 3, .mask_v6 = 4, .generation = 5",
        CONTROL.pack(1, 2, 3, 4, 5),
    ),
    "service_end": (
        "struct service_end, .address = {htonl(0x01020304), 0, 0, htonl(0x05060708)}, .port = htons(0x090a)",
        SERVICE_END.pack(bytes([1, 2, 3, 4, *bytes(8), 5, 6, 7, 8]), b"\x09\x0a"),
    ),
    "shield": (
        "struct shield, .current = {{1, 2}}, .previous = {{3, 4}}, .place = 5, .key_number = 6, .flags = 7",
        SHIELD.pack(
            *(b"".join(word.to_bytes(8, sys.byteorder) for word in words) for words in ((1, 2), (3, 4))), 5, 6, 7
        ),
    ),
    "tally": (
        f"struct tally, .counts = {{{', '.join(str(outcome + 1) for outcome in Outcome)}}}",
        TALLY.pack(*(outcome + 1 for outcome in Outcome)),
    ),
    "flow_v4": (
        "struct flow_v4, .is = {htonl(0x01020304), htonl(0x0708090a), htons(0x0506), htons(0x0b0c)},"
        " .becomes = {htonl(0x0c0b0a09), htonl(0x08070605), htons(0x0403), htons(0x0201)},"
        " .track = {.state = STATE_GONE, .total = 1, .last_used = 2}",
        FLOW_V4.record.pack(
            Ends("1.2.3.4", 0x0506, "7.8.9.10", 0x0B0C).packed,
            Ends("12.11.10.9", 0x0403, "8.7.6.5", 0x0201).packed,
            State.GONE,
            1,
            2,
        ),
    ),
    "flow_v6": (
        "struct flow_v6,"
        " .is = {{htonl(0x01020304), 0, 0, htonl(0x05060708)}, {htonl(0x090a0b0c), 0, 0, htonl(0x0d0e0f10)},"
        " htons(0x1112), htons(0x1314)},"
        " .becomes = {{htonl(0x14131211), 0, 0, 0}, {0, 0, 0, htonl(0x100f0e0d)}, htons(0x0c0b), htons(0x0a09)},"
        " .track = {.state = STATE_GONE, .total = 1, .last_used = 2}",
        FLOW_V6.record.pack(
            Ends("102:304::506:708", 0x1112, "90a:b0c::d0e:f10", 0x1314).packed,
            Ends("1413:1211::", 0x0C0B, "::100f:e0d", 0x0A09).packed,
            State.GONE,
            1,
            2,
        ),
    ),
}
NUMBERS: dict[str, int] = {
    "MAX_PORTS": layout.MAX_PORTS,
    "MAX_TOTALS": layout.MAX_TOTALS,
    "MAX_SERVICES": layout.MAX_SERVICES,
    "PROBES": layout.PROBES,
    "TICK_SHIFT": layout.TICK_SHIFT,
    "HOP_AGE_SHIFT": HOP_AGE_SHIFT,
    "NO_VLAN": layout.NO_VLAN,
    "offsetof(struct track, state)": layout.STATE_AT,
    "offsetof(struct track, last_used)": layout.LAST_USED_AT,
    "offsetof(struct track, packets)": layout.PACKETS_AT,
    "offsetof(struct track, bytes)": layout.BYTES_AT,
    "REASONS": len(Reason),
    **{f"REASON_{reason.name}": reason.value for reason in Reason},
    "OUTCOMES": len(Outcome),
    **{f"OUTCOME_{outcome.name}": outcome.value for outcome in Outcome},
    **{f"SHIELD_{flag.name}": flag.value for flag in ShieldFlag},
    **{f"STATE_{state.name}": state.value for state in State},
}
PROGRAM = """
#include <arpa/inet.h>
#include <linux/types.h>
#include <stddef.h>
#include <stdio.h>
#include "layout.h"

#define RECORD(type, ...) show(&(type){{__VA_ARGS__}}, sizeof(type))

static void show(const void *record, size_t size_bytes)
{{
    for (size_t at = 0; at < size_bytes; at++)
        printf("%02x", ((const unsigned char *)record)[at]);
    putchar('\\n');
}}

int main(void)
{{
    {statements}
}}
"""


def c_says(statements: list[str], directory: Path) -> list[str]:
    """What statements print that know layout.h, a line each."""
    require_bpf()
    source, built = directory / "says.c", directory / "says"
    source.write_text(PROGRAM.format(statements="\n    ".join(statements)))
    compiled = subprocess.run(
        ["clang", f"-I{OBJECT.parent}", str(source), "-o", str(built)], capture_output=True, text=True, check=False
    )
    assert compiled.returncode == 0, compiled.stderr
    return subprocess.run([built], capture_output=True, text=True, check=True).stdout.split()


def test_the_committed_objects_are_up_to_date(tmp_path: Path) -> None:
    """`make bpf` from the sources as they are, elsewhere: not a byte differs from the objects that are shipped."""
    require_bpf()
    fastpath = OBJECT.parent.relative_to(ROOT)
    (tmp_path / fastpath).mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for source in (*OBJECT.parent.glob("*.c"), *OBJECT.parent.glob("*.h")):
        shutil.copy(source, tmp_path / fastpath)
    made = subprocess.run(
        ["make", "--old-file=debian", "bpf"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    for shipped in (OBJECT, answers.OBJECT):
        same = (tmp_path / fastpath / shipped.name).read_bytes() == shipped.read_bytes()
        assert same, f"{shipped.name} is not what its sources make: run `make bpf` and commit it"


def test_records_are_laid_out_alike(tmp_path: Path) -> None:
    """A record with a value of its own in every field has the same bytes, whether C or Python makes it."""
    said = c_says([f"RECORD({fields});" for fields, _ in RECORDS.values()], tmp_path)
    assert dict(zip(RECORDS, said, strict=True)) == {name: packed.hex() for name, (_, packed) in RECORDS.items()}


def test_numbers_are_the_same(tmp_path: Path) -> None:
    """Sizes, places and reasons have the same values in C and Python, and neither knows a reason more."""
    said = c_says([f'printf("%ld\\n", (long)({number}));' for number in NUMBERS], tmp_path)
    assert dict(zip(NUMBERS, map(int, said), strict=True)) == NUMBERS
