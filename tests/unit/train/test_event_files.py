"""Event files are what TensorBoard reads: checked against what its own writer once wrote."""

from __future__ import annotations

import math
import struct
from pathlib import Path

from modelyard.train.event_files import EventFile, crc32c


def records(directory: Path) -> list[bytes]:
    """The events of the one file, their checksums compared."""
    (path,) = directory.iterdir()
    data, found = path.read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        check(data[:8], data[8:12])
        check(data[12 : 12 + size], data[12 + size : 16 + size])
        found.append(data[12 : 12 + size])
        data = data[16 + size :]
    return found


def check(data: bytes, stored: bytes) -> None:
    (masked,) = struct.unpack("<I", stored)
    turned = masked - 0xA282EAD8 & 0xFFFFFFFF
    assert (turned << 15 | turned >> 17) & 0xFFFFFFFF == crc32c(data)


def test_checksums_of_rfc_3720() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_an_event_byte_by_byte(tmp_path: Path) -> None:
    with EventFile(tmp_path / "run") as events:
        events.add(300, {"loss": 0.5, "validation/loss": math.inf}, 2.0)
        events.add(0, {"x": 1e300, "y": -1e300}, 2.0)
    first, second, third = records(tmp_path / "run")
    assert first[0] == 0x09
    assert first.endswith(b"\x10\x00\x1a\x0dbrain.Event:2")
    loss = b"\x0a\x0b\x0a\x04loss\x15" + struct.pack("<f", 0.5)
    validation = b"\x0a\x16\x0a\x0fvalidation/loss\x15" + struct.pack("<f", math.inf)
    assert second == b"\x09" + struct.pack("<d", 2.0) + b"\x10\xac\x02" + b"\x2a\x25" + loss + validation
    assert struct.pack("<f", math.inf) in third
    assert struct.pack("<f", -math.inf) in third


def test_events_are_there_while_the_run_goes_on_and_each_process_has_a_file(tmp_path: Path) -> None:
    one = EventFile(tmp_path)
    one.add(1, {"loss": 1.0})
    assert len(records(tmp_path)) == 2
    EventFile(tmp_path).close()
    assert len(list(tmp_path.iterdir())) == 2
    one.close()
