"""What cannot be done is refused, or fails the job, with a message that says what was expected and what came."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from modelyard.aio import Client
from modelyard.errors import AlreadyExistsError, InvalidInputError, NotFoundError, PreconditionError
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState
from modelyard.sdk.jobs.options import JobOptions
from tests import models
from tests.integration.jobs.batch import ended, rows, saved
from tests.integration.serving.conftest import Workbench

UNKNOWN = "job-00000000000000000000"


@pytest.fixture
async def model(bench: Workbench) -> str:
    """A model x FP32 [-1, 64] -> y."""
    await bench.push("strict", models.mlp())
    return "strict"


async def test_what_is_unknown_is_not_found(client: Client, model: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        await client.jobs.submit("nobody", {"x": rows(1)})
    with pytest.raises(NotFoundError, match="9"):
        await client.jobs.submit(f"{model}@9", {"x": rows(1)})
    for ask in (client.jobs.get, client.jobs.cancel, client.jobs.pause, client.jobs.resume, client.jobs.dead_letters):
        with pytest.raises(NotFoundError, match=UNKNOWN):
            await ask(UNKNOWN)
    with pytest.raises(NotFoundError, match=UNKNOWN):
        await client.jobs.results(UNKNOWN, tmp_path / "y")
    with pytest.raises(NotFoundError, match="ffff"):
        await client.jobs.submit(model, "sha256:" + "f" * 64)


async def test_a_url_that_is_not_allowed(client: Client, model: str) -> None:
    for url in ("https://example.org/x.npy", "file:///etc/passwd", "simplecache::https://example.org/x.npy"):
        with pytest.raises(InvalidInputError, match="allow"):
            await client.jobs.submit(model, url)


WIDE = b"\n".join(b",".join(b"%s%d" % (name, i) for i in range(64)) for name in (b"c", b"1"))
CASES = {
    "unknown column": ("x.csv", b"a,b\n1,2\n", JobOptions(columns={"x": ["c"]}), "'c'"),
    "too few columns": ("x.csv", b"a,b\n1,2\n", JobOptions(columns={"x": "*"}), "2"),
    "an unknown input": ("x.csv", b"a,b\n1,2\n", JobOptions(columns={"z": ["a"]}), "'z'"),
    "another datatype": ("x.npy", None, JobOptions(), "FP64"),
    "no file of that kind": ("x.parquet", b"nothing like that", JobOptions(), "x.parquet"),
    "ragged rows": ("x.jsonl", b'{"x": [1.0]}\n{"x": [1.0, 2.0]}\n', JobOptions(), "x"),
    "an unknown key": ("x.csv", WIDE, JobOptions(columns={"x": "*"}, cast=True, key_column="id"), "'id'"),
}


async def test_data_that_does_not_fit_fails_the_job(client: Client, model: str, tmp_path: Path) -> None:
    found = await asyncio.gather(*(_failed(client, model, tmp_path / case, case) for case in CASES))
    for case, job in zip(CASES, found, strict=True):
        assert job.state is JobState.FAILED, case
        assert CASES[case][-1] in job.reason, case
        assert "internal" not in job.reason.lower(), case


async def _failed(client: Client, model: str, directory: Path, case: str) -> Job:
    name, content, options, _ = CASES[case]
    directory.mkdir()
    if content is None:
        saved(directory / name, np.zeros((3, 64), np.float64))
    else:
        (directory / name).write_bytes(content)
    return await ended(client, await client.jobs.submit(model, directory / name, options))


async def test_a_request_id_that_was_used_for_something_else(client: Client, model: str) -> None:
    options = JobOptions(request_id="taken")
    job = await client.jobs.submit(model, {"x": rows(1)}, options)
    with pytest.raises(AlreadyExistsError, match=job.id):
        await client.jobs.submit(model, {"x": rows(2)}, options)
    await ended(client, job)


async def test_what_has_ended_is_neither_cancelled_nor_paused(client: Client, model: str, tmp_path: Path) -> None:
    job = await client.jobs.submit(model, {"x": rows(1)})
    await ended(client, job)
    for ask in (client.jobs.cancel, client.jobs.pause, client.jobs.resume):
        with pytest.raises(PreconditionError, match="SUCCEEDED"):
            await ask(job)
    assert await client.jobs.retry_dead_letters(job) == 0
    with pytest.raises(InvalidInputError, match="'z'"):
        await client.jobs.results(job, tmp_path / "z", "z")
