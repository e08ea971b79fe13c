"""What a benchmark of the lane promises: a table on standard error, JSON on standard output, and the exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.processes import machine


@dataclass(frozen=True)
class Bound:
    """What was found, and between what it has to be."""

    what: str
    found: float
    least: float = 0.0
    most: float = float("inf")

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.least <= self.found <= self.most

    def __str__(self) -> str:
        limits = [f"at least {self.least:g}"] * (self.least > 0) + [f"at most {self.most:g}"] * (self.most < 1e300)
        return f"{self.what}: {self.found:.4g}, {' and '.join(limits)}: {'met' if self.met else 'MISSED'}"


def table(lines: Sequence[Mapping[str, Any]]) -> None:
    """Print rows with the same columns on standard error."""
    names = list(lines[0])
    cells = [names, *([str(line[name]) for name in names] for line in lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)), file=sys.stderr)


def conclude(figures: Mapping[str, Any], bounds: Sequence[Bound]) -> None:
    """Print all of it; exit with 1 if a bound was missed."""
    for bound in bounds:
        print(bound, file=sys.stderr)
    found = [{key: v for key, v in asdict(b).items() if v != float("inf")} | {"met": b.met} for b in bounds]
    print(json.dumps({"machine": machine(), **figures, "bounds": found}, indent=1))
    sys.exit(not all(bound.met for bound in bounds))
