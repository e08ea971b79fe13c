"""`python -m bench.peers`: Modelyard, Triton and MLServer side by side, in turns.

JSON on standard output (or into --json), tables on standard error. Every server runs all the time and is idle while
another is measured; each round goes through all servers of a case before the next case. A ratio is that of one round,
the figure quoted the median of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.peers.cases import MLP, cases
from bench.peers.measurement import Case, Measurement, measure
from bench.peers.mlserver import mlserver
from bench.peers.modelyard import modelyard
from bench.peers.report import aims_table, figures_table, verdicts
from bench.peers.served import Model, mlp, resnet50, tensor
from bench.peers.target import Target
from bench.peers.triton import triton
from bench.processes import clean_up_on_termination, machine

WARM_UP_S = 1.0
QUICK_CONCURRENCIES = (1, 64, 8)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.5, help="of one measurement")
    parser.add_argument("--quick", action="store_true", help="one round of 1.5 s, fewer cases: does it all run?")
    parser.add_argument("--only", default="", help="cases whose name has this, such as 'mlp stream c=64'")
    parser.add_argument("--json", type=Path, help="where to write the figures; standard output if not given")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1.5
    return options


def chosen(options: argparse.Namespace) -> list[Case]:
    """The cases that were asked for."""
    found = [case for case in cases() if all(word in case.name.split() for word in options.only.split())]
    if options.quick:
        found = [case for case in found if case.model != MLP or case.concurrency in QUICK_CONCURRENCIES]
    if not found:
        raise SystemExit(f"no case has {options.only!r}; expected words of {[case.name for case in cases()]}")
    return found


def run_rounds(
    plan: Sequence[Case], targets: Mapping[str, Target], models: Mapping[str, Model], options: argparse.Namespace
) -> list[Measurement]:
    """Measure everything so many times, after each server has been warmed up once by each kind of load."""
    found = []
    for number in range(1 - (not options.quick), options.rounds + 1):
        seconds = options.seconds if number else WARM_UP_S
        for case in plan:
            for name in case.targets:
                taken = measure(case, targets[name], models[case.model], seconds)
                found += [taken] if number else []
                print(f"round {number}: {line(taken)}", file=sys.stderr, flush=True)
    return found


def line(taken: Measurement) -> str:
    """A measurement in one line."""
    figures = f"{taken.requests_per_s:.0f}/s, p50 {taken.p50_us:.0f} µs, p99 {taken.p99_us:.0f} µs"
    return f"{taken.case}, {taken.target}: {taken.error or f'{figures}, CPU {taken.cpu_us:.0f} µs a request'}"


def main() -> None:
    """Start all, measure, print."""
    clean_up_on_termination()
    options = arguments()
    plan = chosen(options)
    models = {model.name: model for model in (mlp(), resnet50(), tensor())}
    peers_models = [models["mlp"], models["resnet50"]]
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = [
            stack.enter_context(triton(peers_models, scratch / "triton")),
            *stack.enter_context(mlserver(peers_models, scratch / "mlserver")),
            *stack.enter_context(modelyard(list(models.values()), scratch / "modelyard")),
        ]
        found = run_rounds(plan, {target.name: target for target in running}, models, options)
    rows = verdicts(found)
    print(f"\n{figures_table(plan, found)}\n\n{aims_table(rows)}", file=sys.stderr)
    given = {"rounds": options.rounds, "seconds": options.seconds}
    document = {"machine": machine()} | given | {"aims": rows, "measurements": [dataclasses.asdict(m) for m in found]}
    text = json.dumps(document, indent=1)
    if options.json:
        options.json.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
