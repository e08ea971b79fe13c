"""Which samples come when: a function of seed, epoch and the number of samples. Nothing else."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def order(samples: int, seed: int, epoch: int, *, shuffled: bool = True) -> Indices:
    """Return the permutation of range(samples) of an epoch, INT64 [samples].

    Samples are sorted by 64 random bits each (ties by number) of Philox 4x64 (Salmon et al., "Parallel random numbers:
    as easy as 1, 2, 3", 2011), whose bits do not change between versions of numpy, as those of its shuffles may.

    Args:
        samples: how many there are.
        seed: of the job.
        epoch: from 0 on.
        shuffled: False: as they come.
    """
    if not shuffled:
        return np.arange(samples, dtype=np.int64)
    bits = np.random.Philox(key=key("order", seed, epoch)).random_raw(samples)
    return np.argsort(bits, kind="stable").astype(np.int64)


def key(purpose: str, *numbers: int) -> int:
    """Return 128 bits that differ for each purpose and numbers: BLAKE2b of them, joined by "/"."""
    named = "/".join([purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.blake2b(named.encode(), digest_size=16).digest(), "big")


def share(begin: int, end: int, rank: int, world: int) -> tuple[int, int]:
    """Return the part [begin, end) of a range that a rank has: sizes differ by one at most, larger ones first."""
    size, larger = divmod(end - begin, world)
    first = begin + rank * size + min(rank, larger)
    return first, first + size + (rank < larger)
