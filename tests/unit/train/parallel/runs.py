"""Runs that ranks are told to do: with evaluations, and in two parts on different grids."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from modelyard.jobs.training import Parallelism
from modelyard.train.events import Listener
from modelyard.train.loop import Ending, Loop
from modelyard.train.options import TrainingOptions
from modelyard.train.parallel.evaluation import ParallelEvaluation
from modelyard.train.parallel.mesh import mesh
from modelyard.train.parallel.reduction import GridReduction
from modelyard.train.parallel.state import PartialState, restored
from modelyard.train.parallel.step import ParallelStep
from modelyard.train.recipe import Recipe
from modelyard.train.reduction import Alone, Reduction
from modelyard.train.samples import Samples
from modelyard.train.state import TrainingState
from modelyard.train.step import Training
from modelyard.train.tally import Wish
from tests.unit.train.parallel.cases import Points

HELD_OUT = 7
Values = dict[str, Any]


def _training(recipe: Recipe, state: TrainingState, options: TrainingOptions) -> Training:
    train, held_out = Samples(recipe, Points(), options.seed), Samples(recipe, Points(HELD_OUT), options.seed)
    return Training(recipe, state, options, train, held_out)


def _run(loop: Loop, reduction: Reduction, state: TrainingState, until: int) -> Ending:
    """Until so many steps were applied."""
    return loop.run(reduction, lambda: Wish(leave=state.position.step >= until - 1))


def _alone(recipe: Recipe, options: TrainingOptions, until: int, begun: Values | None = None) -> Values:
    """On one process; from a state, or from the beginning."""
    state = TrainingState.new(recipe, Points(), options)
    if begun is not None:
        state.load_state_dict(begun)
    _run(Loop(_training(recipe, state, options), Listener()), Alone(), state, until)
    return state.state_dict()


def _together(
    recipe: Recipe, options: TrainingOptions, shape: Parallelism, until: int, begun: Values | None = None
) -> Values:
    """On all ranks; what comes of it has rank 0."""
    state = PartialState.cut(recipe, Points(), options, mesh(shape))
    if begun is not None:
        state.load_state_dict(begun)
        check_same(state.assemble(), begun)
    loop = Loop(
        _training(recipe, state, options),
        Listener(),
        lambda training, _: ParallelStep(training, state.placement),
        lambda training, samples, _: ParallelEvaluation(training, state.placement, samples),
    )
    _run(loop, GridReduction(state.placement.grid), state, until)
    return state.assemble()


def check_same(found: Values, begun: Values) -> None:
    """What was loaded is what it was, bit for bit, on rank 0."""
    for part in ("module", "best_weights") if found else ():
        assert _distance(found[part], begun[part]) == 0.0
    if found:
        assert _distance(_flat(found["optimizer"]["state"]), _flat(begun["optimizer"]["state"])) == 0.0


def _told(values: Values) -> Values:
    """The values of rank 0, on all."""
    shared = [values]
    dist.broadcast_object_list(shared)
    return shared[0]


def continued(recipe: type[Recipe], given: Values, before: Parallelism, after: Parallelism, said: Values) -> Values:
    """How far a run that goes on on another grid is from an undisturbed one on one process; None: not rank 0's."""
    made, options = recipe(**given), TrainingOptions(**said)
    half, whole = options.total_steps(len(Points())) // 2 + 1, options.total_steps(len(Points())) + 1
    begun = _told(_together(made, options, before, half))
    found = _together(made, options, after, whole, begun)
    if not found:
        return {}
    expected = _alone(recipe(**given), options, whole)
    resumed = _alone(recipe(**given), options, whole, begun)  # as a job of data parallelism would
    alone = restored(recipe(**given), found)
    assert all(torch.equal(value, found["module"][name]) for name, value in alone.module.state_dict().items())
    return {
        "weights": _distance(found["module"], expected["module"]),
        "best": _distance(found["best_weights"], expected["best_weights"]),
        "optimizer": _distance(_flat(found["optimizer"]["state"]), _flat(expected["optimizer"]["state"])),
        "resumed by one": _distance(resumed["module"], expected["module"]),
        "same": all(found[name] == expected[name] for name in ("position", "scheduler"))
        and found["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"],
        "values": _values_apart(found["course"], expected["course"]),
        "epochs": [record["best"] for record in found["course"]["history"]]
        == [record["best"] for record in expected["course"]["history"]],
    }


def begun_by_one(recipe: type[Recipe], shape: Parallelism, said: Values) -> float:
    """How far a run is that one process has begun; -1: this is not rank 0."""
    made, options = recipe(), TrainingOptions(**said)
    half, whole = options.total_steps(len(Points())) // 2 + 1, options.total_steps(len(Points())) + 1
    found = _together(made, options, shape, whole, _alone(made, options, half))
    return _distance(found["module"], _alone(recipe(), options, whole)["module"]) if found else -1.0


def _flat(state: dict[int, Values]) -> dict[str, torch.Tensor]:
    return {f"{number}/{key}": value for number, values in state.items() for key, value in values.items()}


def _distance(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    assert list(found) == list(expected)
    assert found
    return max(float((found[name] - expected[name]).abs().max()) for name in found)


def _values_apart(found: Values, expected: Values) -> float:
    """How far loss and metrics of the epochs are from those of another course."""
    pairs = zip(found["history"], expected["history"], strict=True)
    apart = [
        abs(one[kind][name] - other[kind][name])
        for one, other in pairs
        for kind in ("training", "validation")
        for name in other[kind]
    ]
    return float(max(apart))
