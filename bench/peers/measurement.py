"""One measurement: a target, a load, and what that cost the server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bench.peers import perf_analyzer
from bench.peers.served import Model
from bench.peers.target import Target
from bench.processes import cpu_by_program

PERF_ANALYZER = "perf_analyzer"
OWN = "bench.load"
ATTEMPTS = 3
GRACE_S = 10.0
"""How much longer than asked for a load generator may take; it hangs where the server dies."""


@dataclass(frozen=True)
class Case:
    """A load that targets are put under, one after the other.

    Attributes:
        tool: PERF_ANALYZER or OWN.
        stream: ModelStreamInfer in the place of unary calls.
        targets: by name, in the order in which they take turns.
    """

    model: str
    tool: str
    stream: bool
    concurrency: int
    targets: tuple[str, ...]

    @property
    def name(self) -> str:
        """As in the report."""
        return f"{self.model} {'stream' if self.stream else 'unary'} c={self.concurrency} {self.tool}"


@dataclass(frozen=True)
class Measurement:
    """What came of it; `cpu_us` is the CPU time of all server processes a request, and which of them took it.

    `error` says why there is no figure.
    """

    case: str
    target: str
    requests: int = 0
    requests_per_s: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    cpu_us: float = 0.0
    cpu_us_by_program: dict[str, float] = field(default_factory=dict)
    error: str = ""


def measure(case: Case, target: Target, model: Model, seconds: float) -> Measurement:
    """Drive the target, again where its server died; a load that fails is reported, and ends nothing."""
    for _ in range(ATTEMPTS):
        taken = _attempt(case, target, model, seconds)
        if not target.revive():
            break
        taken = Measurement(case.name, target.name, error="the server died")
    return taken


def _attempt(case: Case, target: Target, model: Model, seconds: float) -> Measurement:
    before = cpu_by_program(target.pids())
    try:
        report = _drive(case, target, model, seconds)
    except RuntimeError as error:
        return Measurement(case.name, target.name, error=str(error))
    after = cpu_by_program(target.pids())
    spent = {name: (taken - before.get(name, 0.0)) / report["requests"] * 1e6 for name, taken in after.items()}
    total = round(sum(spent.values()), 1)
    burned = {name: round(us, 1) for name, us in sorted(spent.items()) if us >= total / 100}
    return Measurement(case.name, target.name, **report, cpu_us=total, cpu_us_by_program=burned)


def _drive(case: Case, target: Target, model: Model, seconds: float) -> dict[str, Any]:
    address, name = target.address_of(model.name), target.name_of(model.name)
    if case.tool == PERF_ANALYZER:
        return perf_analyzer.drive(address, name, case.concurrency, seconds, stream=case.stream)
    command = [sys.executable, "-m", OWN, "--address", address, "--concurrency", str(case.concurrency)]
    command += ["--seconds", str(seconds), *(["--stream"] if case.stream else [])]
    payload, limit_s = model.request(name), seconds * 2 + GRACE_S
    try:
        done = subprocess.run(command, input=payload, capture_output=True, check=False, timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{OWN}: it does not end") from None
    if done.returncode:
        raise RuntimeError(f"{OWN}: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return dict(json.loads(done.stdout))


def of(found: Iterable[Measurement], case: str, target: str) -> list[Measurement]:
    """The measurements of a target in a case, in the order of the rounds."""
    return [m for m in found if m.case == case and m.target == target]
