"""What a recipe is trained on."""

from __future__ import annotations

from typing import Any, Protocol


class Dataset(Protocol):
    """Samples under numbers from 0 on, each whatever the recipe's `collate` understands: torch's map-style datasets.

    If there is a `__getitems__(indices) -> list of samples`, it is called instead, for a batch at a time. If there is
    an `order(seed, epoch) -> INT64 [len]`, it says which samples come when in training, instead of `train.order`: a
    function of both and the data, the same in every process.
    """

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Return one."""
        ...
