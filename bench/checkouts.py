"""What a change bought: the CPU time of a call in several checkouts, or with several options, measured in turns.

    git worktree add ../before HEAD~5
    python -m bench.checkouts before=../before 'one by one=.' 'batched=.:{"max_batch_size": 64}'

Each side is NAME=DIRECTORY, with InstanceOptions as JSON after a colon where it takes any. All run at once with the
interpreter and packages of this one; ratios are to the first side, of the same round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers.measurement import OWN, Case, Measurement, measure
from bench.peers.served import mlp
from bench.peers.target import Target
from bench.processes import clean_up_on_termination, machine

SCRIPT = Path(__file__).parent / "checkout_suite.py"
SERVICES = ("registry", "scheduler", "worker")


@dataclass(frozen=True)
class Side:
    """Sources and options under a name."""

    name: str
    directory: Path
    options: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> Side:
        """Read NAME=DIRECTORY or NAME=DIRECTORY:{...}."""
        name, _, rest = text.partition("=")
        directory, _, options = rest.partition(":")
        return cls(name, Path(directory).resolve(), json.loads(options or "{}"))

    def script(self, *arguments: object) -> Any:
        """Run the script on its sources; return what it prints."""
        sources = [self.directory, *(self.directory / "services" / service for service in SERVICES)]
        environ = {**os.environ, "PYTHONPATH": ":".join(map(str, sources))}
        command = [sys.executable, "-P", str(SCRIPT), *map(str, arguments)]
        done = subprocess.run(command, env=environ, cwd=self.directory, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def running(self, scratch: Path) -> Iterator[Target]:
        """Run its suite."""
        scratch.mkdir()
        model, state = scratch / "mlp.onnx", scratch / "state"
        model.write_bytes(mlp().onnx)
        try:
            found = self.script("up", state, model, json.dumps(self.options))
            yield Target(self.name, found["address"], lambda: [found["pid"]])
        finally:
            self.script("down", state)


def summary(name: str, rounds: Sequence[Measurement], first: Sequence[Measurement]) -> dict[str, Any]:
    """The medians of one side, and of its ratios to the first."""
    errors = [m.error for m in rounds if m.error]
    if errors:
        return {"side": name, "error": errors[0]}
    found: dict[str, Any] = {"side": name}
    for figure in ("requests_per_s", "p50_us", "cpu_us"):
        found[figure] = round(statistics.median(getattr(m, figure) for m in rounds))
    ratios = [m.cpu_us / base.cpu_us for m, base in zip(rounds, first, strict=True) if not base.error]
    programs = {name for m in rounds for name in m.cpu_us_by_program}
    by_program = {p: round(statistics.median(m.cpu_us_by_program.get(p, 0) for m in rounds)) for p in sorted(programs)}
    found["cpu_ratio"] = [round(f(ratios), 2) for f in (statistics.median, min, max)] if ratios else []
    return found | {"cpu_us_by_program": by_program}


def main() -> None:
    """Measure and print."""
    clean_up_on_termination()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sides", nargs="+", type=Side.parse, metavar="NAME=DIRECTORY[:OPTIONS]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--stream", action="store_true")
    options = parser.parse_args()
    case = Case("mlp", OWN, options.stream, options.concurrency, tuple(side.name for side in options.sides))
    found: dict[str, list[Measurement]] = {side.name: [] for side in options.sides}
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        targets = [
            stack.enter_context(side.running(scratch / str(number))) for number, side in enumerate(options.sides)
        ]
        for number in range(options.rounds + 1):
            for target in targets:
                taken = measure(case, target, mlp(), options.seconds)
                found[target.name] += [taken] if number else []  # the first round warms up
    first = found[options.sides[0].name]
    rows = [summary(name, rounds, first) for name, rounds in found.items()]
    print(json.dumps({"machine": machine(), "case": case.name, "rounds": options.rounds, "sides": rows}, indent=1))


if __name__ == "__main__":
    main()
