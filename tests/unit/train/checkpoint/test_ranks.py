"""Several ranks save one checkpoint, and another number of ranks loads it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from modelyard.train.checkpoint.directory import DirectoryCheckpoints
from modelyard.train.checkpoint.loading import load, newest
from tests.unit.train.checkpoint.programs import ROWS, fail_on_one, load_sharded, save_sharded

Together = Callable[..., list[Any]]


def test_shards_of_two_are_read_by_three_and_by_one(tmp_path: Path, together: Together) -> None:
    names = together(save_sharded, tmp_path, 2)
    assert names[0] == names[1]
    store = DirectoryCheckpoints(tmp_path / "checkpoints")
    assert store.names() == names[0][:0:-1]
    for path in (tmp_path / "checkpoints").iterdir():
        parts = [(path / f"__{rank}_0.distcp").stat().st_size for rank in range(2)]
        assert min(parts) > 0
        assert sum(parts) < 2 * 50_000 * 8  # what both have is written once
    wanted = torch.arange(ROWS * 3, dtype=torch.float32).reshape(ROWS, 3) * 3
    found = together(load_sharded, tmp_path, 3)
    assert list(itertools.chain(*(rows for rows, *_ in found))) == wanted.tolist()
    assert [rest for _, *rest in found] == [[3, 2, 3]] * 3
    record, state = load(store, newest(store))
    assert torch.equal(state["sharded"], wanted)
    assert (record.world, state["step"], state["replicated"][0].item()) == (2, 3, 3)


def test_if_one_fails_all_hear_of_it_and_the_next_is_saved(tmp_path: Path, together: Together) -> None:
    found = together(fail_on_one, tmp_path, 2)
    assert found[0] == found[1]
    assert "no space left" in found[0][0]
    assert DirectoryCheckpoints(tmp_path / "checkpoints").names() == [found[0][1]]
