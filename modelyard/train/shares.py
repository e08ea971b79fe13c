"""Who takes which part of a global batch. A part of one sample is avoided: batch normalisation cannot do with it."""

from __future__ import annotations

from modelyard.train.order import share

_LEAST = 2


def portion(samples: int, rank: int, world: int) -> tuple[int, int]:
    """Return the part [begin, end) of a batch that a rank has; of small batches the last ranks have none."""
    sharing = _number(samples, world)
    return share(0, samples, rank, sharing) if rank < sharing else (samples, samples)


def pieces(begin: int, end: int, count: int) -> list[tuple[int, int]]:
    """Cut a part into so many micro-batches, or fewer; an empty part is one that is empty."""
    number = _number(end - begin, count)
    return [share(begin, end, index, number) for index in range(number)]


def _number(samples: int, wanted: int) -> int:
    return max(1, min(wanted, samples // _LEAST))
