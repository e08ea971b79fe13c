from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.catalogue import File, Manifest
from modelyard.errors import DataLossError, InvalidInputError, NotFoundError
from modelyard_registry.artifacts.reading import Slice, slices
from modelyard_registry.artifacts.store import ChunkStore

MANIFEST = Manifest((File("w.bin", 25, ("a", "b", "c")), File("empty", 0, ())), chunk_size_bytes=10)


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, 0, [("a", 0, 10), ("b", 0, 10), ("c", 0, 5)]),
        (0, 10, [("a", 0, 10)]),
        (0, 11, [("a", 0, 10), ("b", 0, 1)]),
        (9, 2, [("a", 9, 10), ("b", 0, 1)]),
        (10, 10, [("b", 0, 10)]),
        (3, 4, [("a", 3, 7)]),
        (19, 0, [("b", 9, 10), ("c", 0, 5)]),
        (24, 1 << 62, [("c", 4, 5)]),
        (25, 0, []),
        (25, 7, []),
    ],
)
def test_which_bytes_of_which_chunks(offset: int, length: int, expected: list[tuple[str, int, int]]) -> None:
    assert list(slices(MANIFEST, "w.bin", offset, length)) == [Slice(*fields) for fields in expected]


def test_every_range_is_whole() -> None:
    places = [(digest, at) for digest in "abc" for at in range(10)][:25]
    for offset in range(26):
        for length in range(1, 27):
            found = [(s.digest, at) for s in slices(MANIFEST, "w.bin", offset, length) for at in range(s.start, s.end)]
            assert found == places[offset : offset + length]


def test_a_file_without_bytes() -> None:
    assert list(slices(MANIFEST, "empty", 0, 0)) == []


@pytest.mark.parametrize(
    ("offset", "length", "said"),
    [
        (26, 0, "offset: expected 0 to 25, the size of 'w.bin'; got 26"),
        (-1, 0, "offset: expected 0 to 25, the size of 'w.bin'; got -1"),
        (0, -1, "length: expected 0 or more bytes, got -1"),
    ],
)
def test_ranges_that_no_file_has(offset: int, length: int, said: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{said}$"):
        slices(MANIFEST, "w.bin", offset, length)


def test_who_asks_for_another_file_is_told_what_is_there() -> None:
    with pytest.raises(NotFoundError, match=r"^file 'weights': expected one of 'w.bin', 'empty'$"):
        slices(MANIFEST, "weights", 0, 0)
    many = Manifest(tuple(File(f"{n}.bin", 0, ()) for n in range(100)))
    with pytest.raises(NotFoundError, match=r"'3.bin', '4.bin' and 95 more$"):
        slices(many, "x" * 10_000, 0, 0)


async def test_a_chunk_that_is_gone_is_data_loss(tmp_path: Path) -> None:
    store = ChunkStore(str(tmp_path), "registry-0")
    await store.prepare()
    with pytest.raises(DataLossError, match="not in the artifact store"):
        await store.open_named("0" * 64)
