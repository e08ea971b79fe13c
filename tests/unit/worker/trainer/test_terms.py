from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from modelyard.catalogue import Resources
from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.jobs.training import Checkpoints, Code, Parallelism, TrainingData, TrainingSpec
from modelyard_worker.trainer.terms import SHARED_EVERY_S, cadence, take_cores


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(("cpu", "threads"), [(0.0, 3), (0.5, 1), (2.0, 2), (2.9, 2)])
def test_a_rank_has_as_many_threads_as_the_job_asks_for_cores(cpu: float, threads: int) -> None:
    take_cores(Resources(cpu))
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("parallelism", "said", "every_s"),
    [
        (Parallelism(), Checkpoints(), 0.0),
        (Parallelism(shard=2), Checkpoints(), SHARED_EVERY_S),
        (Parallelism(tensor=2), Checkpoints(every_steps=5), 0.0),
        (Parallelism(pipeline=2), Checkpoints(every_s=9.0), 9.0),
    ],
)
def test_a_model_that_ranks_share_is_saved_every_few_minutes(
    parallelism: Parallelism, said: Checkpoints, every_s: float
) -> None:
    code, data = Code(Artifact("c" * 64), "recipe:Digits"), TrainingData(Dataset(Artifact("d" * 64)))
    spec = TrainingSpec("digits", code, data, epochs=1, parallelism=parallelism, checkpoints=said)
    assert cadence(spec) == replace(said, every_s=every_s)
