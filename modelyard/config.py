"""Configuration: one frozen dataclass a service, read once from flags and MODELYARD_* variables."""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")
PREFIX = "MODELYARD_"
TEST_RUNTIME = "MODELYARD_TEST_RUNTIME"
"""For tests and benchmarks: not a setting, but handed down from process to process, as far as the runners."""
CLIENT = "MODELYARD_ADDRESS"
"""Where the SDK's user has the front door: no setting of a service, which may be started from the same shell."""
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def option(default: Any, text: str, least: float = -math.inf) -> Any:
    """Declare a field of a configuration: its default, its line of --help, and for a number the least one."""
    return dataclasses.field(default=default, metadata={"help": text, "least": least})


def load(kind: type[T], argv: Sequence[str], environ: Mapping[str, str]) -> T:
    """Return the configuration; flags win over variables, variables over defaults.

    Exits with a line on standard error if a flag, a MODELYARD_* variable or a value is not understood.
    """
    program = f"python -m {kind.__module__.partition('.')[0]}"
    parser = argparse.ArgumentParser(prog=program, description=kind.__doc__, allow_abbrev=False)
    types = get_type_hints(kind)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    known = {PREFIX + f.name.upper() for f in fields}
    unknown = sorted(k for k in environ if k.startswith(PREFIX) and k not in {*known, TEST_RUNTIME, CLIENT})
    if unknown:
        parser.error(f"unknown variable {unknown[0]}; expected one of {', '.join(sorted(known))}")
    for f in fields:
        text = environ.get(PREFIX + f.name.upper())
        parser.add_argument(
            "--" + f.name.replace("_", "-"),
            type=_reader(types[f.name], f.metadata["least"]),
            nargs="?" if types[f.name] is bool else None,
            const=True if types[f.name] is bool else None,
            default=f.default if text is None else text,  # argparse converts a default that is a string
            help=f"{f.metadata['help']} (default {f.default!r})",
        )
    return kind(**vars(parser.parse_args(argv)))


def _reader(kind: Callable[[str], Any], least: float) -> Callable[[str], Any]:
    """Return what reads a value, and refuses a number that is less or is none."""
    if kind is bool or least == -math.inf:
        return _boolean if kind is bool else kind

    def number(text: str) -> Any:
        value = kind(text)
        if not least <= value < math.inf:
            raise argparse.ArgumentTypeError(f"expected a finite number of at least {least:g}, got {text!r}")
        return value

    return number


def _boolean(text: str) -> bool:
    """Read a flag that may also stand alone: --flag, --flag=true, --flag=false."""
    if text not in _BOOLEANS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(_BOOLEANS)}; got {text!r}")
    return _BOOLEANS[text]


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a child: without our settings, which are meant for this process alone."""
    return {name: value for name, value in environ.items() if not name.startswith(PREFIX) or name == TEST_RUNTIME}


def parse_bytes(text: str) -> int:
    """Read `512`, `64MiB`, `1.5GiB`; raise ValueError saying what was expected."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]iB)?", text.strip())
    if not match:
        raise ValueError(f"expected a size such as 512MiB or 4GiB, got {text!r}")
    return int(float(match[1]) * _UNITS[match[2] or ""])


def format_bytes(size_bytes: int) -> str:
    """Write a size as 512 B, 1.5 MiB, 4 GiB."""
    value, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.4g} {unit}"


def parse_pairs(text: str) -> dict[str, str]:
    """Read `key=value,key=value`; raise ValueError saying what was expected."""
    pairs: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise ValueError(f"expected key=value, got {part!r}")
        pairs[key] = value
    return pairs
