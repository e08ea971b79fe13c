from __future__ import annotations

from modelyard_registry.artifacts import marks
from modelyard_registry.artifacts.marks import Marks
from modelyard_registry.artifacts.store import sha256

DIGESTS = [sha256(str(n).encode()) for n in range(5_000)]
SIZES = dict.fromkeys(DIGESTS, 1)


def test_nothing_is_marked_at_first() -> None:
    assert Marks().without(SIZES) == SIZES
    assert Marks().without({}) == {}


def test_what_was_added_is_marked_and_nothing_else() -> None:
    found = Marks()
    found.add(DIGESTS[::2])
    assert list(found.without(SIZES)) == DIGESTS[1::2]
    found.add(DIGESTS[1::4])
    found.add([])
    assert list(found.without(SIZES)) == DIGESTS[3::4]
    assert found.without({}) == {}


def test_sixteen_digits_are_enough() -> None:
    found = Marks()
    found.add(digest[:16] for digest in DIGESTS[:10])
    assert list(found.without(SIZES)) == DIGESTS[10:]


def test_the_first_and_the_last_of_all() -> None:
    found = Marks()
    found.add(["0" * 64, "f" * 64])
    assert found.without({"0" * 64: 1, "f" * 64: 2, "e" * 64: 3, "0" * 63 + "1": 4}) == {"e" * 64: 3}


def test_memory_is_eight_bytes_a_chunk_however_often_it_is_added() -> None:
    found = Marks()
    for _ in range(100):
        found.add(DIGESTS)
    assert found._added_count <= marks._SETTLED_AT_ONCE
    found.without(SIZES)
    assert found._sorted.nbytes == 8 * len(DIGESTS)
