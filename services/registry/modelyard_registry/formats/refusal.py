"""Pickles are refused: reading one runs what its author wrote. They are known by content, whatever their names.

This spares users a surprise and operators a habit; it is no sandbox. What protects a server is that nothing unpickles:
each format's reader says what an artifact may hold, and runtimes load only that.
"""

from __future__ import annotations

import bz2
import lzma
import pickletools
import re
import warnings
import zlib
from pathlib import Path

from modelyard.errors import InvalidInputError
from modelyard.pickled import CONVERSION
from modelyard_registry.formats.known import HEAD_BYTES

_OPCODE_BYTES = 64 << 10
_ZIP_ENTRY = b"PK\x03\x04"
_ZIP_NAME_OFFSET = 30
_FIRST_OF_TORCH = re.compile(rb"[^/]+/(data\.pkl|data/\d+|constants/\d+|code/.+)")
_LEAST_OPCODES = 5
"""So many opcodes in a row are no accident: weights that begin like a pickle are not one."""


def refuse_pickles(directory: Path) -> None:
    """Raise InvalidInputError, which says how to convert, if a file below the directory is a pickle."""
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        kind = describe_pickle(head, whole=path.stat().st_size <= HEAD_BYTES)
        if kind:
            name = path.relative_to(directory).as_posix()
            raise InvalidInputError(
                f"{name}: expected a file that is read without running code, got {kind}; {CONVERSION}"
            )


def describe_pickle(head: bytes, *, whole: bool) -> str | None:
    """Say what kind of pickle a file is, or None.

    Args:
        head: its first bytes, HEAD_BYTES of them or all.
        whole: whether these are all.
    """
    if head.startswith(_ZIP_ENTRY):
        return "a file of torch.save or torch.jit.save (a zip with a pickle)" if _is_torch_zip(head) else None
    if head.startswith(b"\x93NUMPY"):
        return "a NumPy file of Python objects (a pickle)" if b"'descr': '|O'" in head[:256] else None
    if _is_pickle(head, whole):
        return "a Python pickle"
    unpacked = _decompress(head)
    return "a compressed Python pickle" if unpacked and _is_pickle(unpacked, whole=False) else None


def _is_torch_zip(head: bytes) -> bool:
    """Whether it begins as torch.save and torch.jit.save begin; torch.export.save begins otherwise."""
    length = int.from_bytes(head[26:28], "little")
    return _FIRST_OF_TORCH.fullmatch(head, _ZIP_NAME_OFFSET, _ZIP_NAME_OFFSET + length) is not None


def _is_pickle(head: bytes, whole: bool) -> bool:
    opcodes = _opcodes(head[:_OPCODE_BYTES])
    stopped = opcodes[-1:] == ["STOP"]
    if opcodes[:1] == ["PROTO"] and head[1] >= 2:
        return stopped or len(opcodes) >= _LEAST_OPCODES
    # Protocols 0 and 1 have no mark at their beginning, and much text happens to be one of them: only what calls.
    return whole and stopped and not {"GLOBAL", "INST"}.isdisjoint(opcodes)


def _opcodes(head: bytes) -> list[str]:
    """The names of the leading opcodes, up to the first that is none or that is cut off."""
    found: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escape sequences in what may be no text at all
        try:
            found.extend(opcode.name for opcode, _, _ in pickletools.genops(head))
        except (ValueError, OverflowError):
            return found
    return found


def _decompress(head: bytes) -> bytes:
    """The beginning of what gzip, zlib, bzip2 or xz packed; empty for anything else."""
    try:
        if head.startswith((b"\x1f\x8b", b"\x78")):
            return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(head, HEAD_BYTES)
        if head.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(head, HEAD_BYTES)
        if head.startswith((b"\xfd7zXZ", b"\x5d\x00\x00")):
            return lzma.LZMADecompressor().decompress(head, HEAD_BYTES)
    except (zlib.error, OSError, lzma.LZMAError):
        return b""
    return b""
