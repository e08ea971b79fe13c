from __future__ import annotations

import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from modelyard.catalogue import File, Manifest
from modelyard.chunks import Chunk
from modelyard.datasets.chunked import ChunkedFile, open_artifact
from modelyard.datasets.opening import is_directory
from modelyard.errors import CancelledError, DataLossError, NotFoundError, UnavailableError

CHUNK_BYTES = 100
DATA = random.Random(3).randbytes(9 * CHUNK_BYTES + 42)
FILE = File("x.npy", len(DATA), tuple(f"digest-{index}" for index in range(10)))


class Fetched:
    """Chunks of DATA that are there at once, and which were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.failures: list[Exception] = []
        self.held: dict[int, Future[bytes]] = {}
        self.hold = False
        self._changed = threading.Condition()

    def await_asked(self, index: int) -> None:
        """Return once a chunk was asked for that is held back."""
        with self._changed:
            assert self._changed.wait_for(lambda: index in self.held, 20)

    def __call__(self, chunk: Chunk) -> Future[bytes]:
        self.asked.append(chunk.index)
        future: Future[bytes] = Future()
        if self.hold:
            with self._changed:
                self.held[chunk.index] = future
                self._changed.notify_all()
        elif self.failures:
            future.set_exception(self.failures.pop(0))
        else:
            future.set_result(DATA[chunk.index * CHUNK_BYTES :][: chunk.size_bytes])
        return future


def opened(fetched: Fetched, ahead: int = 1) -> ChunkedFile:
    return ChunkedFile(FILE, fetched, chunk_size_bytes=CHUNK_BYTES, ahead=ahead)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_every_range_is_what_the_file_has_there(ahead: int) -> None:
    file, ranges = opened(Fetched(), ahead), random.Random(4)
    for _ in range(300):
        begin, end = sorted(ranges.choices(range(len(DATA) + 1), k=2))
        assert file.read(begin, end - begin) == DATA[begin:end]
    assert (file.name, file.size_bytes) == ("x.npy", len(DATA))


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_who_reads_on_and_on_gets_each_chunk_once_and_the_next_ones_before_they_are_wanted(ahead: int) -> None:
    fetched = Fetched()
    file = opened(fetched, ahead)
    seen: list[list[int]] = []
    for at in range(0, len(DATA), 40):
        file.read(at, min(40, len(DATA) - at))
        seen.append(list(fetched.asked))
    assert fetched.asked == list(range(10))
    assert seen[0] == [0]
    in_third = seen[240 // 40]
    assert in_third == list(range(3 + ahead))


def test_what_is_read_here_and_there_is_not_read_ahead_and_the_last_chunks_are_kept() -> None:
    fetched = Fetched()
    file = opened(fetched)
    for index in (7, 2, 5, 2, 7, 5, 0, 5, 7, 2):
        file.read(index * CHUNK_BYTES + 1, 10)
    assert fetched.asked == [7, 2, 5, 0, 2]


def test_a_read_of_many_chunks_begins_the_next_while_it_waits_for_one() -> None:
    fetched = Fetched()
    fetched.hold = True
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(opened(fetched).read, 250, 300)
        for index in range(2, 6):
            fetched.await_asked(min(index + 1, 5))
            fetched.held[index].set_result(DATA[index * CHUNK_BYTES :][:CHUNK_BYTES])
        assert reading.result(10) == DATA[250:550]


def test_no_more_than_a_few_chunks_are_held() -> None:
    file = opened(Fetched(), ahead=2)
    assert file.read(0, len(DATA)) == DATA
    assert len(file._held) == 4


@pytest.mark.parametrize("error", [UnavailableError("away"), DataLossError("damaged")])
def test_what_could_not_be_fetched_is_fetched_anew(error: Exception) -> None:
    fetched = Fetched()
    file = opened(fetched)
    fetched.failures = [error]
    with pytest.raises(type(error)):
        file.read(0, 10)
    assert file.read(0, 10) == DATA[:10]
    assert fetched.asked == [0, 0]


def test_a_chunk_that_failed_ahead_fails_nobody() -> None:
    fetched = Fetched()
    file = opened(fetched)
    file.read(0, 10)
    fetched.hold = True
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(file.read, 100, 10)
        fetched.await_asked(2)
        fetched.held[1].set_result(DATA[100:200])
        fetched.held[2].set_exception(UnavailableError("away"))
        assert reading.result(10) == DATA[100:110]
    fetched.hold = False
    assert file.read(200, 10) == DATA[200:210]


def test_a_fetch_that_was_cancelled_is_an_error_of_ours() -> None:
    fetched = Fetched()
    fetched.hold = True
    file = opened(fetched)
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(file.read, 0, 10)
        fetched.await_asked(0)
        fetched.held[0].cancel()
        with pytest.raises(CancelledError, match=r"x\.npy"):
            reading.result(10)


def test_a_chunk_that_is_too_short_is_a_loss() -> None:
    def fetch(chunk: Chunk) -> Future[bytes]:
        future: Future[bytes] = Future()
        future.set_result(b"x" * (chunk.size_bytes - 1))
        return future

    with pytest.raises(DataLossError, match="expected 150 bytes at 10, got 149"):
        ChunkedFile(FILE, fetch, chunk_size_bytes=CHUNK_BYTES).read(10, 150)


def test_an_artifact_is_a_file_or_a_directory() -> None:
    other = File("dir/y.npy", 10, ("digest-0",))
    one, two = Manifest((FILE,), CHUNK_BYTES), Manifest((FILE, other), CHUNK_BYTES)
    fetched = Fetched()
    assert open_artifact(one, "", fetched).name == "x.npy"
    assert open_artifact(two, "dir/y.npy", fetched).name == "dir/y.npy"
    directory = open_artifact(two, "", fetched)
    assert is_directory(directory)
    assert directory.paths() == ["dir/y.npy", "x.npy"]
    assert directory.open("dir/y.npy").read(2, 5) == DATA[2:7]
    for content in (one, two):
        with pytest.raises(NotFoundError, match="no file 'z'"):
            open_artifact(content, "z", fetched)


def test_one_image_is_a_directory_of_one() -> None:
    found = open_artifact(Manifest((File("a/1.PNG", 10, ("digest-0",)),), CHUNK_BYTES), "", Fetched())
    assert is_directory(found)
    assert found.paths() == ["a/1.PNG"]
