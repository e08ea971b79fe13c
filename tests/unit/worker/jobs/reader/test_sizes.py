from __future__ import annotations

import pytest

from modelyard_worker.jobs.reader.sizes import AIM_S, FIRST_ROWS, MOST_BYTES, MOST_ROWS, Sizes


def settled(sizes: Sizes, row_s: float, row_bytes: int, overhead_s: float = 0.0, calls: int = 30) -> list[int]:
    """The rows of the calls to a model that takes so long a row."""
    seen = []
    for _ in range(calls):
        seen.append(sizes.rows)
        sizes.learn(sizes.rows, overhead_s + row_s * sizes.rows, row_bytes * sizes.rows)
    return seen


@pytest.mark.parametrize("row_s", [1e-5, 1e-4, 1e-3, 5e-3])
def test_calls_come_to_take_between_20_and_50_ms(row_s: float) -> None:
    rows = settled(Sizes(), row_s, 256)
    assert rows[0] == FIRST_ROWS
    assert 0.02 <= rows[-1] * row_s <= 0.05


def test_they_have_a_row_at_least_and_so_many_at_most() -> None:
    assert settled(Sizes(), 10.0, 256)[-1] == 1
    assert settled(Sizes(), 0.0, 256)[-1] == MOST_ROWS
    assert settled(Sizes(), 1e-6, 64 << 10)[-1] == MOST_BYTES // (64 << 10)
    assert settled(Sizes(), 1e-6, 1 << 30)[-1] == 1
    assert max(settled(Sizes(most=100), 1e-6, 4)) == 100
    assert settled(Sizes(most=4), 1e-6, 4)[0] == 4
    assert Sizes(row_bytes=600 << 10).rows == 6
    assert Sizes(row_bytes=1 << 30).rows == 1


def test_it_grows_step_by_step_and_shrinks_at_once() -> None:
    sizes = Sizes()
    rows = settled(sizes, 1e-6, 4, calls=3)
    assert rows == [8, 32, 128]
    sizes.learn(4096, 4096 * 1e-3, 4096 * 4)
    assert sizes.rows <= 2 * AIM_S / 1e-3 + 1


def test_a_model_of_so_many_rows_a_call_gets_them() -> None:
    sizes = Sizes(exact=8, most=4)
    assert set(settled(sizes, 1.0, 1 << 30)) == {8}
    assert (sizes.unit, Sizes().unit) == (8, 1)
