"""One of several processes that train together: python -m tests.unit.train.rank RANK WORLD STORE.

Reads a list of cases as JSON from the standard input, and writes what came of each on the standard output. In the last
one all but rank 0 die.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict
from typing import Any

import torch
import torch.distributed as dist

from modelyard.train.distributed import GroupReduction
from modelyard.train.events import Listener, StepCommitted
from modelyard.train.failure import NonFiniteError
from modelyard.train.local import training
from modelyard.train.loop import Loop
from modelyard.train.options import TrainingOptions
from modelyard.train.reduction import Alone, GroupLost, Reduction
from modelyard.train.step import Training
from tests.unit.train.recipes import Augmented, Small, pairs

RECIPES = {"Small": Small, "Augmented": Augmented}


class Steps(Listener):
    """Keeps what is committed."""

    def __init__(self) -> None:
        self.values: list[dict[str, Any]] = []

    def committed(self, step: StepCommitted) -> None:
        self.values.append({"position": asdict(step.position), "samples": step.samples, **step.values})


class Dying(Steps):
    """Ends this process when a step is committed, while others wait for it."""

    def committed(self, step: StepCommitted) -> None:
        if step.position.step == 2:
            os._exit(0)


def of(case: dict[str, Any]) -> Training:
    """What a case trains; `bad`: the sample that is not finite."""
    recipe = RECIPES[case.get("recipe", "Small")](**case.get("parameters", {}))
    data, held_out = pairs(case["samples"]), pairs(case.get("validation", 0), seed=8)
    if "bad" in case:
        data[case["bad"]][0].fill_(float("inf"))
    return training(recipe, data, held_out, TrainingOptions(**case["options"]))


def outcome(case: dict[str, Any], *reductions: Reduction) -> dict[str, Any]:
    """Train as a case says, in one group after the other; return the weights, and their digest."""
    trained, steps = of(case), Steps()
    loop = Loop(trained, steps)
    ending = ""
    for reduction in reductions:
        try:
            ending = loop.run(reduction)
        except GroupLost:
            ending = "LOST"
        except NonFiniteError as error:
            return {"step": error.step, "samples": error.samples}
    state = trained.state.module.state_dict()
    flat = torch.cat([value.double().flatten() for value in state.values()])
    return {
        "ending": ending,
        "weights": flat.tolist(),
        "digest": hashlib.sha256(flat.numpy().tobytes()).hexdigest(),
        "steps": steps.values,
        "history": [asdict(record) for record in trained.state.course.history],
    }


def alone(case: dict[str, Any]) -> dict[str, Any]:
    """The same in this process."""
    return outcome(case, Alone())


def _main() -> None:
    torch.set_num_threads(1)
    rank, world, store = sys.argv[1:]
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=int(world))
    group = dist.group.WORLD
    assert group is not None
    *cases, last = json.load(sys.stdin)
    found = [outcome(case, GroupReduction(group)) for case in cases]
    if rank != "0":
        print(json.dumps(found), flush=True)
        Loop(of(last), Dying()).run(GroupReduction(group))
    print(json.dumps([*found, outcome(last, GroupReduction(group), Alone())]), flush=True)
    os._exit(0)  # torch would wait for the rank that is gone


if __name__ == "__main__":
    _main()
