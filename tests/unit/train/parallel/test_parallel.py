from __future__ import annotations

from typing import Any

import pytest

from modelyard.jobs.training import Parallelism
from tests.unit.train.parallel import cases, tied
from tests.unit.train.parallel.ranks import Ranks

TOLERANCE = 1e-6
SHARDED, DATA = Parallelism(1, 2), Parallelism(2)
TENSOR, PIPELINE = Parallelism(1, tensor=2), Parallelism(1, pipeline=2)
HYBRID, CUT_LAYERS, CUT_STAGES = Parallelism(2, 2), Parallelism(1, 2, 2), Parallelism(1, 2, 1, 2)
LAYERS_OF_STAGES, REPLICAS_OF_STAGES = Parallelism(1, 1, 2, 2), Parallelism(2, pipeline=2)


def check_equal(found: list[dict[str, float]]) -> None:
    """Each rank's run was as one on one process; the first has all the weights, the others none."""
    assert [rank["weights"] >= 0 for rank in found] == [True] + [False] * (len(found) - 1)
    assert max(rank["weights"] for rank in found) <= TOLERANCE
    assert max(rank["sums"] for rank in found) <= TOLERANCE
    assert {rank["epoch"] for rank in found} == {2}


@pytest.mark.parametrize("shape", [DATA, SHARDED, TENSOR, PIPELINE])
@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"batch_size": 8}, id="an uneven last batch"),
        pytest.param({"batch_size": 7, "accumulation": 3}, id="a last batch of one sample, in micro-batches"),
    ],
)
def test_two_ranks_are_equal_to_one_process(two: Ranks, shape: Parallelism, said: dict[str, Any]) -> None:
    check_equal(two.run(cases.difference, cases.Net, {}, shape, {"epochs": 2, **said}))


@pytest.mark.parametrize("shape", [HYBRID, CUT_LAYERS, CUT_STAGES, LAYERS_OF_STAGES, REPLICAS_OF_STAGES])
def test_four_ranks_are_equal_to_one_process(four: Ranks, shape: Parallelism) -> None:
    check_equal(four.run(cases.difference, cases.Net, {}, shape, {"epochs": 2, "batch_size": 7, "accumulation": 2}))


@pytest.mark.parametrize("shape", [SHARDED, TENSOR, PIPELINE])
def test_a_recipe_says_how_its_model_is_cut(two: Ranks, shape: Parallelism) -> None:
    given = {"clip_norm": None, "loss_of_each": False}
    check_equal(two.run(cases.difference, cases.Said, given, shape, {"epochs": 2, "batch_size": 8}))


def test_each_rank_has_its_part_of_the_parameters(two: Ranks, four: Ranks) -> None:
    for ranks, shape in ((two, SHARDED), (two, TENSOR), (two, PIPELINE), (four, CUT_STAGES)):
        found = ranks.run(cases.difference, cases.Net, {}, shape, {"steps": 6})
        assert all(rank["elements"] < 0.75 * rank["whole"] for rank in found)
        assert sum(rank["elements"] for rank in found) >= found[0]["whole"]


def test_buffers_are_the_same_on_all_ranks(two: Ranks) -> None:
    first, second = two.run(cases.buffers, cases.Normed, SHARDED)
    assert first == second
    assert first[1] == 3


@pytest.mark.parametrize(("shape", "samples"), [(SHARDED, "2, 3"), (TENSOR, "0, 1, 2, 3"), (PIPELINE, "0, 1, 2, 3")])
def test_a_loss_that_is_not_finite_ends_a_step_on_all_ranks(two: Ranks, shape: Parallelism, samples: str) -> None:
    message = f"step 0: the loss is not finite; samples of the batch: {samples}"
    assert two.run(cases.not_finite, shape) == [(message, True)] * 2


def test_code_that_ends_its_thread_where_weights_change_is_heard_of(two: Ranks) -> None:
    assert two.run(cases.raised, cases.Leaving, SHARDED) == ["step 0: the recipe raised SystemExit: 3"] * 2


@pytest.mark.parametrize(
    ("recipe", "shape", "message"),
    [
        (
            cases.Net,
            Parallelism(1, 3),
            "parallelism: data 1 x shard 3 x tensor 1 x pipeline 1: expected 3 ranks, got 2",
        ),
        (cases.Unsaid, TENSOR, "tensor 2: expected a recipe with tensor_plan(model), or an nn.Sequential"),
        (
            cases.Unsaid,
            PIPELINE,
            "pipeline 2: expected a recipe with pipeline_split(model, stages), or an nn.Sequential",
        ),
        (cases.Wrong, PIPELINE, "pipeline_split: expected all parameters, blocks.1.up.weight is in no stage"),
        (cases.Own, PIPELINE, "pipeline: expected a recipe without a forward of its own, which stages cannot call"),
        (cases.Unheard, TENSOR, "tensor_plan: expected names of the model's modules, got 'block.0'"),
        (tied.Apart, SHARDED, "weights that are tied to be cut as one, got first.weight and last.weight apart"),
        (tied.Apart, TENSOR, "got first.weight and last.weight apart"),
    ],
)
def test_what_cannot_be_cut_is_named(two: Ranks, recipe: type[cases.Net], shape: Parallelism, message: str) -> None:
    assert [message in said for said in two.run(cases.refused, recipe, shape)] == [True, True]
