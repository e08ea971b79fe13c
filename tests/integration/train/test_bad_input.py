"""Trainings that cannot be: refused, or ended as FAILED with one reason, the user's own traceback, and nothing left."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from modelyard import keys
from modelyard.aio import Client
from modelyard.errors import InvalidInputError, PreconditionError
from modelyard.etcd import Etcd
from modelyard.jobs.job import Job
from modelyard.jobs.spec import Artifact, Dataset
from modelyard.jobs.states import ENDED, JobState
from modelyard.jobs.training import Parallelism
from modelyard.rpc import convert
from modelyard.rpc.channel import Stub, open_channel
from modelyard.sdk.jobs.training_options import TrainingJobOptions
from modelyard.train.order import order
from modelyard.v1 import jobs_pb2 as pb
from tests import models
from tests.integration.registry.remote import refused
from tests.integration.serving.conftest import TIMEOUT_S, Workbench, bench, client
from tests.integration.serving.traffic import arguments
from tests.integration.train import faulty
from tests.suites import RunningSuite
from tests.waiting import eventually

__all__ = ["bench", "client"]
pytestmark = pytest.mark.timeout(300)
SAMPLES, BATCH_SIZE = 12, 4
NAME = "faulty"
PROGRAMS = {"modelyard_worker.trainer", "modelyard.train.control"}
Columns = dict[str, npt.NDArray[Any]]
NUMBERS = np.arange(SAMPLES)
ROWS: Columns = {"a": np.sin(NUMBERS).astype(np.float32), "b": np.cos(NUMBERS).astype(np.float32), "label": NUMBERS % 3}
OUT_OF_RANGE: Columns = {**ROWS, "label": np.where(NUMBERS == 5, 9, NUMBERS % 3)}
OPTIONS = TrainingJobOptions(target="label", epochs=1, batch_size=BATCH_SIZE)
ORDER = order(SAMPLES, OPTIONS.seed, 0).tolist()
SECOND = ", ".join(map(str, ORDER[BATCH_SIZE : 2 * BATCH_SIZE]))
STEP_OF_FIVE = ORDER.index(5) // BATCH_SIZE


@dataclass(frozen=True)
class Case:
    """A training that fails.

    Attributes:
        entry: which recipe.
        reason: the whole of it.
        lines: with which the traceback ends; there is one frame in it.
    """

    entry: str
    reason: str
    lines: str = ""
    options: TrainingJobOptions = OPTIONS
    data: Columns = field(default_factory=lambda: ROWS)


CASES = {
    "a step raises": Case(
        "recipe:Raises",
        "step 2: the recipe raised ValueError: odd",
        'in loss\n    raise ValueError("odd")\nValueError: odd\n',
    ),
    "a loss is not finite": Case("recipe:Diverges", f"step 1: the loss is not finite; samples of the batch: {SECOND}"),
    "a column is missing": Case(
        "recipe:Sound",
        "rows.npz: expected a column of 'a', 'b', 'label'; got 'class'",
        options=replace(OPTIONS, target="class"),
    ),
}
MORE = {
    "it does not import": Case(
        "broken",
        "import broken: the recipe raised ZeroDivisionError: division by zero",
        "in <module>\n    1 / 0\n    ~~^~~\nZeroDivisionError: division by zero\n",
    ),
    "a label is out of range": Case(
        "recipe:Sound",
        f"step {STEP_OF_FIVE}: the recipe raised IndexError: Target 9 is out of bounds.",
        "IndexError: Target 9 is out of bounds.\n",
        data=OUT_OF_RANGE,
    ),
}


@pytest.fixture
async def etcd(running_suite: RunningSuite) -> AsyncIterator[Etcd]:
    opened = Etcd(running_suite.process("etcd").address)
    yield opened
    await opened.close()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    directory = tmp_path / "code"
    directory.mkdir()
    shutil.copy(faulty.__file__, directory / "recipe.py")
    (directory / "broken.py").write_text("import torch\n\n1 / 0\n")
    return directory


async def train(client: Client, code: Path, case: Case) -> Job:
    """The job, once it has ended."""
    job = await client.jobs.train(NAME, code, case.data, replace(case.options, entry=case.entry))

    async def is_over() -> bool:
        return (await client.jobs.get(job)).state in ENDED

    await eventually(is_over, TIMEOUT_S)
    return await client.jobs.get(job)


async def is_gone(suite: RunningSuite, etcd: Etcd, job: Job) -> bool:
    """Whether nothing in etcd names the job but what is held until it is forgotten, and no process trains."""
    named = [key for key in await etcd.keys(keys.PREFIX) if job.id in key and not key.startswith(keys.HOLDS)]
    return not named and not any(not PROGRAMS.isdisjoint(arguments(one)) for one in suite.tree())


@pytest.mark.parametrize(
    "names", [pytest.param([*CASES], id="at run time"), pytest.param([*MORE], id="more", marks=pytest.mark.chaos)]
)
async def test_it_fails_with_one_reason_and_nothing_is_left(
    client: Client, running_suite: RunningSuite, etcd: Etcd, code: Path, names: list[str]
) -> None:
    cases = [(CASES | MORE)[name] for name in names]
    jobs = await asyncio.gather(*(train(client, code, case) for case in cases))
    for case, job in zip(cases, jobs, strict=True):
        assert (job.state, job.reason, job.version) == (JobState.FAILED, case.reason, "")
        assert job.traceback.endswith(case.lines)
        assert job.traceback.count("  File ") == bool(case.lines), job.traceback
        await eventually(partial(is_gone, running_suite, etcd, job), TIMEOUT_S)
    with pytest.raises(PreconditionError, match="it trains a model and has no rows"):
        await client.jobs.dead_letters(jobs[0])


async def test_the_name_is_another_tenants(
    client: Client, bench: Workbench, running_suite: RunningSuite, etcd: Etcd, code: Path
) -> None:
    await bench.push("taken", models.mlp((2, 2)))
    async with Client(running_suite.address, tenant="other", timeout_s=TIMEOUT_S) as other:
        job = await other.jobs.train("taken", code, ROWS, OPTIONS)

        async def is_over() -> bool:
            return (await other.jobs.get(job)).state in ENDED

        await eventually(is_over, TIMEOUT_S)
        job = await other.jobs.get(job)
        assert job.state is JobState.FAILED
        assert job.reason == "model 'taken': expected one of tenant 'other', it is another's"
    await eventually(partial(is_gone, running_suite, etcd, job), TIMEOUT_S)


SHAPES = {
    "job: max_workers: parallelism: data 2 x shard 2 x tensor 1 x pipeline 1: expected 4 ranks, got 3": replace(
        OPTIONS, workers=3, min_workers=2, parallelism=Parallelism(data=2, shard=2)
    ),
    "job: min_workers: expected at most max_workers, 2; got 3": replace(OPTIONS, workers=2, min_workers=3),
}


@pytest.mark.parametrize("message", SHAPES)
async def test_what_makes_no_sense_is_refused(client: Client, running_suite: RunningSuite, message: str) -> None:
    """By the SDK, and by the API for whoever asks it otherwise."""
    options = SHAPES[message]
    with pytest.raises(InvalidInputError) as caught:
        await client.jobs.train(NAME, Path(__file__).parent, ROWS, options)
    assert caught.value.message == message
    spec = convert.spec_to_pb(options.spec(NAME, Artifact("c" * 64), Dataset(Artifact("d" * 64))))
    async with open_channel(running_suite.address) as opened:
        jobs = Stub(opened, pb.DESCRIPTOR.services_by_name["Jobs"])
        assert await refused(InvalidInputError, jobs.SubmitJob(pb.SubmitJobRequest(spec=spec))) == message
