"""What a deployment may choose, whatever the engine: the device and the precision."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.errors import InvalidInputError

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


def parse_device(device: str) -> tuple[str, int]:
    """Return the kind of a device ("cpu", "cuda") and its number; raise InvalidInputError if it is none."""
    kind, colon, number = (device or "cpu").partition(":")
    if kind == "cpu" and not colon:
        return kind, 0
    if kind == "cuda" and (not colon or (number.isascii() and number.isdecimal())):
        return kind, int(number or 0)
    raise InvalidInputError(f"device: expected cpu, cuda or cuda with a number as in cuda:1, got {device!r}")


def check_precision(format_name: str, kind: str, precision: str, possible: Sequence[str]) -> None:
    """Raise InvalidInputError unless it is one of those possible, or empty."""
    if precision and precision not in PRECISIONS:
        raise InvalidInputError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision and precision not in possible:
        hint = "; export the model in that precision" if format_name == "onnx" and precision != "tf32" else ""
        raise InvalidInputError(
            f"precision: expected {' or '.join(possible)} for {format_name} on {kind}, got {precision!r}{hint}"
        )
