"""Jobs whose datasets are in the registry, planned by a process."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator

import numpy as np
import pytest

from modelyard import codec, keys
from modelyard.catalogue import File, Manifest
from modelyard.datasets.blocks import TextIndex
from modelyard.errors import DataLossError, InvalidInputError, NotFoundError
from modelyard.etcd import Etcd
from modelyard.jobs.spec import Artifact, Dataset, Sharding
from modelyard.rpc.storing import Storing
from modelyard_scheduler.jobs.planner.messages import Limits
from modelyard_scheduler.jobs.planner.process import Planner
from tests.integration.registry.remote import RegistryServer, Remote, sha256
from tests.planning import ROWS_OF_FOUR, ROWS_OF_ONE, job_of

ROWS = 200_000


@pytest.fixture
async def storing(server: RegistryServer) -> AsyncIterator[Storing]:
    found = Storing(lambda: [server.endpoint])
    yield found
    await found.close()


@pytest.fixture
async def planning(server: RegistryServer) -> AsyncIterator[Planner]:
    found = Planner(lambda: [server.endpoint], (), os.environ, Limits())
    yield found
    await found.aclose()


def rows_of_text() -> bytes:
    return b"x,user\n" + b"".join(b"%d.5,user-%d\n" % (n, n % 1000) for n in range(ROWS))


async def test_text_is_counted_and_its_index_is_stored_and_held(
    planning: Planner, storing: Storing, registry: Remote, etcd: Etcd
) -> None:
    text = rows_of_text()
    digest = await storing.store_artifact("rows.csv", text, tenant="acme", upload="input")
    sharded = job_of(Dataset(artifact=Artifact(digest)), sharding=Sharding("user", 16), columns=(("x", ("x",)),))
    found, plan = await planning.plan(sharded, ROWS_OF_ONE)
    assert (found.rows, found.stamp, plan.rows, sum(plan.shard_rows)) == (ROWS, "", ROWS, ROWS)
    assert len(plan.shard_rows) == 16
    assert found.index is not None
    index = b"".join([data for _, _, data in await registry.download(found.index.chunks)])
    assert len(index) == found.index.size_bytes
    read = codec.decode(TextIndex, index)
    assert (read.size_bytes, read.begins[-1], read.offsets[-1]) == (len(text), ROWS, len(text))
    assert (await etcd.list(keys.hold(f"upload/acme/{sharded.id}/"))).items


async def test_files_are_found_by_their_paths(planning: Planner, storing: Storing) -> None:
    out = io.BytesIO()
    np.save(out, np.zeros((7, 4), np.float32))
    stored = await storing.store(out.getvalue(), out.tell(), tenant="acme", upload="input")
    files = tuple(File(path, stored.size_bytes, stored.chunks) for path in ("deep/x.npy", "y.npy"))
    manifest = codec.encode(Manifest(files))
    await storing.store(manifest, len(manifest), tenant="acme", upload="input")
    job = job_of(Dataset(artifact=Artifact(sha256(manifest), "deep/x.npy")))
    assert (await planning.plan(job, ROWS_OF_FOUR))[0].rows == 7
    with pytest.raises(NotFoundError, match=r"no file 'nope\.npy'"):
        await planning.plan(job_of(Dataset(artifact=Artifact(sha256(manifest), "nope.npy"))), ROWS_OF_FOUR)
    with pytest.raises(InvalidInputError, match=r"expected a file of npy, got a directory"):
        await planning.plan(job_of(Dataset(artifact=Artifact(sha256(manifest)), kind="npy")), ROWS_OF_FOUR)


async def test_what_is_not_in_the_store_is_told(planning: Planner, storing: Storing) -> None:
    with pytest.raises(NotFoundError):
        await planning.plan(job_of(Dataset(artifact=Artifact("0" * 64, "x.npy"))), ROWS_OF_FOUR)
    lost = codec.encode(Manifest((File("x.npy", 9, ("1" * 64,)),)))
    await storing.store(lost, len(lost), tenant="acme", upload="input")
    with pytest.raises(DataLossError, match=r"x\.npy: chunk 0 is not in the artifact store any more"):
        await planning.plan(job_of(Dataset(artifact=Artifact(sha256(lost)))), ROWS_OF_FOUR)
