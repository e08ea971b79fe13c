"""Runs that ranks are told to do: with evaluations, and in two parts on different grids."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from modelyard.datasets.source import Directory, Source, Window
from modelyard.jobs.training import Parallelism
from modelyard.train.checkpoint.directory import DirectoryCheckpoints
from modelyard.train.checkpoint.loading import load, newest
from modelyard.train.checkpoint.ranks import Ranks
from modelyard.train.checkpoint.resumption import resume
from modelyard.train.checkpoint.saver import Checkpoints
from modelyard.train.checkpoint.structure import take_apart
from modelyard.train.events import Listener
from modelyard.train.loop import Ending, Loop
from modelyard.train.options import TrainingOptions
from modelyard.train.parallel.evaluation import ParallelEvaluation
from modelyard.train.parallel.mesh import mesh
from modelyard.train.parallel.reduction import GridReduction
from modelyard.train.parallel.state import PartialState
from modelyard.train.parallel.step import ParallelStep
from modelyard.train.recipe import Recipe
from modelyard.train.reduction import Alone, Reduction
from modelyard.train.samples import Samples
from modelyard.train.state import TrainingState
from modelyard.train.step import Training
from modelyard.train.tally import Wish
from tests.unit.train.checkpoint.programs import Everybody
from tests.unit.train.parallel.cases import Points

HELD_OUT = 7
Values = dict[str, Any]


def _training(recipe: Recipe, state: TrainingState, options: TrainingOptions) -> Training:
    train, held_out = Samples(recipe, Points(), options.seed), Samples(recipe, Points(HELD_OUT), options.seed)
    return Training(recipe, state, options, train, held_out)


def _run(loop: Loop, reduction: Reduction, state: TrainingState, until: int) -> Ending:
    """Until so many steps were applied."""
    return loop.run(reduction, lambda: Wish(leave=state.position.step >= until - 1))


def _alone(recipe: Recipe, options: TrainingOptions, until: int, begun: str = "") -> TrainingState:
    """On one process; from a checkpoint, or from the beginning."""
    state = TrainingState.new(recipe, Points(), options)
    if begun:
        resume(DirectoryCheckpoints(Path(begun)), state)
    _run(Loop(_training(recipe, state, options), Listener()), Alone(), state, until)
    return state


def _together(
    recipe: Recipe, options: TrainingOptions, shape: Parallelism, until: int, begun: str = ""
) -> PartialState:
    """On all ranks."""
    state = PartialState.cut(recipe, Points(), options, mesh(shape))
    if begun:
        resume(DirectoryCheckpoints(Path(begun)), state)
        check_same(_saved(state, f"{begun}/again"), _loaded(begun))
    loop = Loop(
        _training(recipe, state, options),
        Listener(),
        lambda training, _: ParallelStep(training, state.placement),
        lambda training, samples, _: ParallelEvaluation(training, state.placement, samples),
    )
    _run(loop, GridReduction(state.placement.grid), state, until)
    return state


def _saved(state: TrainingState, directory: str) -> Values:
    """Save a state into a directory; return all of it."""
    ranks = Ranks(Everybody()) if isinstance(state, PartialState) else None
    checkpoints = Checkpoints(DirectoryCheckpoints(Path(directory)), ranks=ranks)
    checkpoints.save(state.state_dict(), state.position).result()
    checkpoints.close()
    return _loaded(directory)


def _loaded(directory: str) -> Values:
    """The newest in a directory."""
    store = DirectoryCheckpoints(Path(directory))
    return load(store, newest(store))[1]


def _in_common() -> str:
    """A directory of all ranks."""
    shared = [tempfile.mkdtemp()]
    dist.broadcast_object_list(shared)
    return shared[0]


def check_same(found: Values, begun: Values) -> None:
    """What was loaded is what it was, bit for bit."""
    tensors, expected = take_apart(found)[0], take_apart(begun)[0]
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[key], value) for key, value in expected.items())
    assert found["position"] == begun["position"]


def continued(recipe: type[Recipe], given: Values, before: Parallelism, after: Parallelism, said: Values) -> Values:
    """How far a run that goes on on another grid is from an undisturbed one on one process; None: not rank 0's."""
    made, options, directory = recipe(**given), TrainingOptions(**said), _in_common()
    half, whole = options.total_steps(len(Points())) // 2 + 1, options.total_steps(len(Points())) + 1
    _saved(_together(made, options, before, half), f"{directory}/begun")
    ended = _together(made, options, after, whole, f"{directory}/begun")
    found = _saved(ended, f"{directory}/ended")
    alone = ended.whole(made)
    if alone is None:
        return {}
    expected = _alone(recipe(**given), options, whole).state_dict()
    resumed = _alone(recipe(**given), options, whole, f"{directory}/begun")  # as a job of data parallelism would
    shutil.rmtree(directory)
    for part, weights in (("module", alone.module.state_dict()), ("best_weights", alone.best_weights)):
        assert _distance(dict(weights), found[part]) == 0.0
    return {
        "weights": _distance(found["module"], expected["module"]),
        "best": _distance(found["best_weights"], expected["best_weights"]),
        "optimizer": _distance(_flat(found["optimizer"]["state"]), _flat(expected["optimizer"]["state"])),
        "resumed by one": _distance(dict(resumed.module.state_dict()), expected["module"]),
        "same": all(found[name] == expected[name] for name in ("position", "scheduler"))
        and found["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"],
        "values": _values_apart(found["course"], expected["course"]),
        "epochs": [record["best"] for record in found["course"]["history"]]
        == [record["best"] for record in expected["course"]["history"]],
    }


class Counted(DirectoryCheckpoints):
    """Counts what is read of tensors."""

    read = 0

    def open(self, name: str) -> Directory:
        directory = super().open(name)
        opened = directory.open

        def counted(path: str) -> Source:
            source = opened(path)
            return _CountedSource(source, self) if path.endswith(".distcp") else source

        directory.open = counted  # type: ignore[method-assign]
        return directory


class _CountedSource(Window):
    def __init__(self, source: Source, store: Counted) -> None:
        super().__init__(source, 0, source.size_bytes, source.name)
        self._store = store

    def read(self, offset: int, length: int) -> bytes:
        self._store.read += length
        return super().read(offset, length)


def parts(recipe: type[Recipe], shape: Parallelism) -> Values:
    """How many bytes this rank writes and reads of a checkpoint, and how many all tensors have."""
    made, options, directory = recipe(), TrainingOptions(steps=9, batch_size=8), _in_common()
    values = _saved(_together(made, options, shape, 2), directory)
    store = Counted(Path(directory))
    (path,) = Path(directory).glob(f"*/__{dist.get_rank()}_0.distcp")
    state = PartialState.cut(made, Points(), options, mesh(shape))
    resume(store, state, path.parent.name)
    check_same(_saved(state, f"{directory}/again"), values)
    written, whole = path.stat().st_size, sum(tensor.nbytes for tensor in take_apart(values)[0].values())
    dist.barrier()
    if dist.get_rank() == 0:
        shutil.rmtree(directory)
    return {"written": written, "read": store.read, "whole": whole}


def begun_by_one(recipe: type[Recipe], shape: Parallelism, said: Values) -> float:
    """How far a run is that one process has begun; -1: this is not rank 0."""
    made, options, directory = recipe(), TrainingOptions(**said), _in_common()
    half, whole = options.total_steps(len(Points())) // 2 + 1, options.total_steps(len(Points())) + 1
    if dist.get_rank() == 0:
        _saved(_alone(made, options, half), directory)
    dist.barrier()
    found = _together(made, options, shape, whole, directory).whole(made)
    if found is None:
        return -1.0
    shutil.rmtree(directory)
    expected = _alone(recipe(), options, whole)
    return _distance(dict(found.module.state_dict()), dict(expected.module.state_dict()))


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
