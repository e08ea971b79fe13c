from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.aio import Client
from modelyard.errors import DataLossError, InvalidInputError, NotFoundError, UnavailableError
from modelyard.jobs.spec import ResultFormat
from modelyard.results import Progress
from tests.unit.fake_jobs import PIECE_BYTES
from tests.unit.fakes import FakeSuite

DATA = bytes(range(256)) + b"end"


def away() -> UnavailableError:
    return UnavailableError("away", retry_after_s=0.01)


@pytest.fixture
async def job(digits: FakeSuite, client: Client) -> str:
    digits.jobs.files = {"": DATA, "y": b"npy"}
    return (await client.jobs.submit("digits", [[0.0]])).id


def asked(fakes: FakeSuite) -> list[tuple[int, str]]:
    return [(r.offset, r.etag) for r in fakes.jobs.requests if hasattr(r, "offset")]


async def test_a_file_comes_whole_to_its_place(digits: FakeSuite, client: Client, job: str, tmp_path: Path) -> None:
    progress: list[Progress] = []
    path = tmp_path / "new" / "y.parquet"
    header = await client.jobs.results(job, path, progress=progress.append)
    assert path.read_bytes() == DATA
    assert [file.name for file in path.parent.iterdir()] == ["y.parquet"]
    assert (header.format, header.size_bytes, header.rows, header.complete) == (ResultFormat.PARQUET, 259, 10, True)
    assert progress[-1] == Progress("receive", 259, 259)
    await client.jobs.results(job, str(path), "y")
    assert path.read_bytes() == b"npy"


async def test_a_download_that_breaks_goes_on_where_it_was(
    digits: FakeSuite, client: Client, job: str, tmp_path: Path
) -> None:
    digits.jobs.failures = {"GetResults": [away()], "sent": [away(), away()]}
    await client.jobs.results(job, tmp_path / "y")
    assert (tmp_path / "y").read_bytes() == DATA
    assert asked(digits) == [(0, ""), (PIECE_BYTES, "one"), (2 * PIECE_BYTES, "one")]


async def test_a_download_goes_on_where_another_one_was(
    digits: FakeSuite, client: Client, job: str, tmp_path: Path
) -> None:
    digits.jobs.failures["sent"] = [NotFoundError("gone")]
    with pytest.raises(NotFoundError, match="gone"):
        await client.jobs.results(job, tmp_path / "y")
    assert not (tmp_path / "y").exists()
    assert len(list(tmp_path.glob(".y.*.part"))) == 1
    await client.jobs.results(job, tmp_path / "y")
    assert asked(digits)[1:] == [(0, ""), (PIECE_BYTES, "one")]
    assert (tmp_path / "y").read_bytes() == DATA


async def test_what_is_whole_already_is_not_fetched_again(
    digits: FakeSuite, client: Client, job: str, tmp_path: Path
) -> None:
    digits.jobs.failures["sent"] = [NotFoundError("gone")]
    with pytest.raises(NotFoundError):
        await client.jobs.results(job, tmp_path / "y")
    (part,) = tmp_path.glob(".y.*.part")
    part.write_bytes(DATA)
    await client.jobs.results(job, tmp_path / "y")
    assert (tmp_path / "y").read_bytes() == DATA
    assert len(asked(digits)) == 2
    part.write_bytes(DATA + b"too much")
    await client.jobs.results(job, tmp_path / "y")
    assert (tmp_path / "y").read_bytes() == DATA


async def test_another_file_is_fetched_from_its_beginning(
    digits: FakeSuite, client: Client, job: str, tmp_path: Path
) -> None:
    digits.jobs.failures["sent"] = [away()]

    def change(progress: Progress) -> None:
        if progress.done_bytes == PIECE_BYTES and digits.jobs.etag == "one":
            digits.jobs.etag, digits.jobs.files[""] = "two", DATA[::-1]

    header = await client.jobs.results(job, tmp_path / "y", progress=change)
    assert header.etag == "two"
    assert (tmp_path / "y").read_bytes() == DATA[::-1]
    assert asked(digits) == [(0, ""), (PIECE_BYTES, "one"), (0, "")]
    assert [file.name for file in tmp_path.glob("*y*")] == ["y"]


async def test_parts_of_an_older_file_go_with_the_newer(
    digits: FakeSuite, client: Client, job: str, tmp_path: Path
) -> None:
    digits.jobs.failures["sent"] = [NotFoundError("gone")]
    with pytest.raises(NotFoundError):
        await client.jobs.results(job, tmp_path / "y")
    digits.jobs.etag = "two"
    await client.jobs.results(job, tmp_path / "y")
    assert list(tmp_path.glob(".y.*.part")) == []


async def test_a_download_that_lacks_some_of_it(digits: FakeSuite, client: Client, job: str, tmp_path: Path) -> None:
    for sent, message in (
        (slice(0, -1), "expected 259 bytes, got 200"),
        (slice(1, None), "expected a header before the results, got none"),
        (slice(0, 0), "expected a header before the results, got none"),
    ):
        digits.jobs.sent = sent
        with pytest.raises(DataLossError, match=message):
            await client.jobs.results(job, tmp_path / "y")
    assert not (tmp_path / "y").exists()


async def test_what_cannot_be_fetched(digits: FakeSuite, client: Client, job: str, tmp_path: Path) -> None:
    for path in ("", tmp_path):
        with pytest.raises(InvalidInputError, match="path: expected that of a file"):
            await client.jobs.results(job, path)
    with pytest.raises(NotFoundError, match="expected an output of"):
        await client.jobs.results(job, tmp_path / "y", "absent")
    async with Client(digits.address, timeout_s=0.2) as hasty:
        digits.jobs.failures["GetResults"] = [away() for _ in range(100)]
        with pytest.raises(UnavailableError, match="away"):
            await hasty.jobs.results(job, tmp_path / "y")
