from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from modelyard.catalogue import Resources
from modelyard_worker.trainer.terms import take_cores


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
