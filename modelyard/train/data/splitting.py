"""Which samples are for training, which for validation: a function of seed, fractions and the number of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from modelyard.datasets.columns import Array
from modelyard.errors import InvalidInputError
from modelyard.train.order import Indices, key


def split(samples: int, seed: int, fractions: Sequence[float], labels: Array | None = None) -> tuple[Indices, ...]:
    """Return the numbers of the samples of each part, ascending; every sample is in one part.

    Samples are ordered by 64 random bits each (Philox, see order.py) and cut at the multiples of the fractions. With
    labels that is done for each label by itself, so that every part has every label's share, but for one sample.

    Args:
        samples: how many there are.
        seed: of the job.
        fractions: of the parts: above 0, their sum 1.
        labels: [samples]; None: any sample may be in any part.

    Raises:
        InvalidInputError: the fractions are none; or a part would have no sample.
    """
    if not all(fraction > 0 for fraction in fractions) or not math.isclose(math.fsum(fractions), 1, abs_tol=1e-6):
        raise InvalidInputError(f"split: expected fractions above 0 with the sum 1, got {list(fractions)}")
    if labels is not None and len(labels) != samples:
        raise InvalidInputError(f"split: expected a label for each of {samples} samples, got {len(labels)}")
    bits = np.random.Philox(key=key("split", seed)).random_raw(samples)
    ordered = np.argsort(bits, kind="stable").astype(np.int64)
    groups = [ordered] if labels is None else _groups(ordered, labels)
    cuts = [_cuts(len(group), fractions) for group in groups]
    parts = [
        np.sort(np.concatenate([group[at[part] : at[part + 1]] for group, at in zip(groups, cuts, strict=True)]))
        for part in range(len(fractions))
    ]
    if not all(map(len, parts)):
        raise InvalidInputError(f"split: expected enough samples for {list(fractions)}, got {samples}")
    return tuple(parts)


def _groups(ordered: Indices, labels: Array) -> list[Indices]:
    """The samples of each label, in order."""
    _, classes = np.unique(labels, return_inverse=True)
    sorting = np.argsort(classes[ordered], kind="stable")
    bounds = np.cumsum(np.bincount(classes))
    return [ordered[sorting[begin:end]] for begin, end in pairwise([0, *bounds.tolist()])]


def _cuts(count: int, fractions: Sequence[float]) -> list[int]:
    sums = [math.fsum(fractions[: part + 1]) for part in range(len(fractions) - 1)]
    return [0, *(math.floor(count * total + 0.5) for total in sums), count]
