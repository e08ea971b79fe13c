"""Runs of shared models with evaluations, which go on on another grid, are as one on one process."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.jobs.training import Parallelism
from tests.unit.train.parallel import cases, runs, tied
from tests.unit.train.parallel.ranks import Ranks

TOLERANCE = 1e-6
SHARDED, TENSOR, PIPELINE = Parallelism(0, 2), Parallelism(0, tensor=2), Parallelism(0, pipeline=2)
HYBRID, LAYERS_OF_STAGES = Parallelism(2, 2), Parallelism(0, tensor=2, pipeline=2)
CUT_LAYERS, CUT_STAGES = Parallelism(0, 2, 2), Parallelism(0, 2, 1, 2)


def check(found: list[dict[str, Any]]) -> None:
    assert [bool(rank) for rank in found] == [True] + [False] * (len(found) - 1)
    first = found[0]
    assert max(first[name] for name in ("weights", "best", "optimizer", "resumed by one", "values")) <= TOLERANCE
    assert first["same"]
    assert first["epochs"]


@pytest.mark.parametrize(("before", "after"), [(SHARDED, TENSOR), (TENSOR, PIPELINE), (PIPELINE, SHARDED)], ids=str)
def test_a_run_goes_on_on_another_grid(two: Ranks, before: Parallelism, after: Parallelism) -> None:
    check(two.run(runs.continued, cases.Net, {}, before, after, {"epochs": 2, "batch_size": 8}))


@pytest.mark.parametrize(("before", "after"), [(CUT_LAYERS, CUT_STAGES), (CUT_STAGES, CUT_LAYERS)], ids=str)
def test_a_run_on_two_axes_goes_on_on_others(four: Ranks, before: Parallelism, after: Parallelism) -> None:
    said = {"epochs": 2, "batch_size": 7, "accumulation": 2}
    check(four.run(runs.continued, cases.Net, {}, before, after, said))


def test_weights_that_are_tied_have_all_their_names(two: Ranks) -> None:
    check(two.run(runs.continued, tied.Tied, {}, SHARDED, PIPELINE, {"epochs": 2, "batch_size": 8}))


@pytest.mark.parametrize("shape", [SHARDED, TENSOR, PIPELINE], ids=str)
def test_a_run_that_one_process_has_begun_goes_on(two: Ranks, shape: Parallelism) -> None:
    found = two.run(runs.begun_by_one, cases.Net, shape, {"epochs": 2, "batch_size": 8})
    assert 0 <= found[0] <= TOLERANCE
    assert found[1] == -1.0


@pytest.mark.parametrize("shape", [HYBRID, CUT_LAYERS, CUT_STAGES, LAYERS_OF_STAGES], ids=str)
def test_each_rank_writes_and_reads_its_part(four: Ranks, shape: Parallelism) -> None:
    """What several ranks have is written by one of them; `continued` compares what is read of it."""
    found = four.run(runs.parts, cases.Wide, shape)
    whole = found[0]["whole"]
    assert all(rank["written"] < 0.35 * whole for rank in found)
    assert whole < sum(rank["written"] for rank in found) < 1.1 * whole
    assert all(rank["read"] < (0.6 if shape == HYBRID else 0.35) * whole for rank in found)
