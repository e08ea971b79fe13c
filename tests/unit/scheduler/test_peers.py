"""What schedulers ask registries for, over real gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from modelyard.deployment import Member
from modelyard.errors import DataLossError, NotFoundError, PreconditionError, UnavailableError
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.server import Server
from modelyard.v1 import registry_pb2 as pb
from modelyard_scheduler import peers
from modelyard_scheduler.peers import addresses_of, find_usable_version, hold_artifact
from tests.unit.fake_registry import FakeRegistry

REGISTRY = pb.DESCRIPTOR.services_by_name["Registry"]
MANIFEST = "ab" * 32
CHUNKS = ["01" * 32, "02" * 32, "03" * 32]


@pytest.fixture
def registry() -> FakeRegistry:
    """With an artifact of three chunks, and model digits with versions 1 and 2."""
    fake = FakeRegistry()
    fake.manifests[MANIFEST] = pb.Manifest(
        files=[pb.File(path="rows.npy", size_bytes=3, chunks=CHUNKS)], chunk_size_bytes=1
    )
    fake.chunks = dict.fromkeys([MANIFEST, *CHUNKS], b"x")
    fake.models["digits"] = pb.Model(name="digits", latest_version="2", state=pb.ACTIVE)
    for number in ("1", "2"):
        fake.versions["digits", number] = pb.Version(model="digits", version=number, state=pb.ACTIVE)
    return fake


@pytest.fixture
async def registries(registry: FakeRegistry) -> AsyncIterator[Replicas]:
    server = Server("registry")
    server.add(REGISTRY, registry)
    address = await server.start("127.0.0.1:0")
    found = Replicas("registry", lambda: addresses_of({"r": Member("r", address)}))
    assert found.addresses() == [address]
    yield found
    await found.close()
    await server.stop(0)


async def test_an_artifact_is_held_under_the_name_of_an_upload(
    registries: Replicas, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "QUESTION_DIGESTS", 2)
    manifest = await hold_artifact(registries, MANIFEST, "acme", "job-1")
    assert [file.path for file in manifest.files] == ["rows.npy"]
    assert registry.calls["FindMissingChunks"] == 3
    assert (registry.uploads, registry.tenants) == ({"job-1"}, {"acme"})


async def test_an_artifact_that_is_not_there_or_not_whole(registries: Replicas, registry: FakeRegistry) -> None:
    with pytest.raises(NotFoundError, match=f"manifest {'cd' * 32}: not in the artifact store"):
        await hold_artifact(registries, "cd" * 32, "acme", "job-1")
    del registry.chunks[CHUNKS[2]]
    with pytest.raises(DataLossError, match=f"1 of its chunks are missing, such as {CHUNKS[2]}"):
        await hold_artifact(registries, MANIFEST, "acme", "job-1")


async def test_a_version_that_can_be_used(registries: Replicas, registry: FakeRegistry) -> None:
    assert (await find_usable_version(registries, "digits", "")).version == "2"
    with pytest.raises(NotFoundError):
        await find_usable_version(registries, "digits", "9")
    registry.versions["digits", "1"].state = pb.DELETED
    with pytest.raises(PreconditionError, match="digits@1: it is deleted"):
        await find_usable_version(registries, "digits", "1")
    registry.models["digits"].state = pb.DELETED
    with pytest.raises(PreconditionError, match="model 'digits': it is deleted"):
        await find_usable_version(registries, "digits", "2")


async def test_nobody_is_live() -> None:
    with pytest.raises(UnavailableError, match="no registry is live"):
        await hold_artifact(Replicas("registry", list), MANIFEST, "acme", "job-1")
