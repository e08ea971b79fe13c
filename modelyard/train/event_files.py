"""TensorBoard's event files, written without the tensorboard package.

That package brings a web server, Markdown and protobuf's runtime with pins of their own; the format is small: records
of TFRecord (length, CRC of it, data, CRC of it; TensorFlow, "TFRecord and tf.train.Example"), each an Event message
with a wall time, a step and scalars (tensorflow/core/util/event.proto and summary.proto). The CRC is CRC-32C (RFC
3720, B.4), masked: turned right by 15 bits, plus a constant.
"""

from __future__ import annotations

import math
import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_VERSION = b"brain.Event:2"

# Tags of protobuf: field number << 3 | wire type.
_WALL_TIME, _STEP, _FILE_VERSION, _SUMMARY = 1 << 3 | 1, 2 << 3, 3 << 3 | 2, 5 << 3 | 2
_VALUE, _TAG, _SIMPLE_VALUE = 1 << 3 | 2, 1 << 3 | 2, 2 << 3 | 5


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)  # noqa: PLW2901
        table.append(byte)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class EventFile:
    """A file of scalars for TensorBoard, in a directory of their run; to be entered, or closed."""

    def __init__(self, directory: Path) -> None:
        """Create the directory, and a new file in it, beside those of earlier processes. Raises OSError."""
        directory.mkdir(parents=True, exist_ok=True)
        now_s = time.time()
        name = f"events.out.tfevents.{int(now_s):010d}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}"
        self._file = (directory / name).open("xb")
        self._write(_event(now_s, 0, _bytes(_FILE_VERSION, _VERSION)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, step: int, values: Mapping[str, float], time_s: float | None = None) -> None:
        """Append values of a step, by name; a name's part before "/" is its group. They are in the file on return.

        Args:
            step: from 0 on.
            values: rounded to FP32; they may be infinite or NaN.
            time_s: since 1970; None: now.
        """
        scalars = b"".join(_scalar(name, value) for name, value in values.items())
        self._write(_event(time.time() if time_s is None else time_s, step, _bytes(_SUMMARY, scalars)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked(length) + event + _masked(event))
        self._file.flush()


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)


def _event(time_s: float, step: int, content: bytes) -> bytes:
    return bytes([_WALL_TIME]) + struct.pack("<d", time_s) + bytes([_STEP]) + _varint(step) + content


def _scalar(name: str, value: float) -> bytes:
    return _bytes(_VALUE, _bytes(_TAG, name.encode()) + bytes([_SIMPLE_VALUE]) + _single(value))


def _single(value: float) -> bytes:
    """As FP32, where what is too large is infinite: struct refuses that."""
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, value))


def _bytes(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
