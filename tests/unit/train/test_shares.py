from __future__ import annotations

import pytest

from modelyard.train.shares import pieces, portion


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("samples", range(1, 20))
def test_portions_are_the_whole_and_none_has_one_sample(samples: int, world: int) -> None:
    found = [portion(samples, rank, world) for rank in range(world)]
    assert [index for begin, end in found for index in range(begin, end)] == list(range(samples))
    sizes = [end - begin for begin, end in found]
    assert samples == 1 or 1 not in sizes
    assert max(sizes) - min(size for size in sizes if size) <= 1


def test_pieces_are_the_whole_part() -> None:
    assert pieces(3, 10, 3) == [(3, 6), (6, 8), (8, 10)]
    assert pieces(3, 6, 3) == [(3, 6)]
    assert pieces(4, 5, 3) == [(4, 5)]
    assert pieces(5, 5, 3) == [(5, 5)]
