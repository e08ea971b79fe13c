"""Search over gRPC: pages, errors with their column, and an index that follows etcd through its restart."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Model, Resources, Signature, TensorSpec, Version
from modelyard.errors import InvalidInputError
from modelyard.etcd import Delete, Etcd, Put
from modelyard.tasks import background
from modelyard_registry.search.discovery import Discovery
from tests.servers import ProgramServer
from tests.waiting import eventually


def version(model: str, name: str, size_bytes: int = 1) -> Version:
    signature = Signature((TensorSpec("x", "FP32", (-1, 64)),), (TensorSpec("y", "FP32", (-1, 10)),))
    return Version(model, name, "onnx", signature, Resources(cpu=4), "0" * 64, size_bytes)


def puts(model: str, *names: str) -> list[Put]:
    versions = [Put(keys.version(model, n), codec.encode(version(model, n))) for n in names]
    return [Put(keys.model(model), codec.encode(Model(model, labels={"team": "vision"}))), *versions]


@pytest.fixture
async def discovery(etcd: Etcd) -> AsyncIterator[Discovery]:
    """An index that follows the etcd of this run."""
    found = Discovery(etcd)
    async with background(found.run()):
        yield found


def names(discovery: Discovery, condition: str) -> list[str]:
    page = discovery.search(condition, "name, version", 100, "")
    return [f"{v.model}@{v.version}" for _, v in page.results]


async def follows(discovery: Discovery, etcd: Etcd, key: str) -> None:
    """Wait until the index has come as far as a key's last change."""
    held = await etcd.get(key)
    assert held is not None
    await eventually(lambda: discovery.revision >= held.mod_revision)


async def test_it_finds_what_is_written_and_not_what_is_deleted(etcd: Etcd, discovery: Discovery) -> None:
    await etcd.commit([], puts("a", "1", "2"))
    await etcd.commit([], puts("b", "1"))
    await follows(discovery, etcd, keys.model("b"))
    assert names(discovery, "labels.team = vision") == ["a@1", "a@2", "b@1"]
    assert names(discovery, 'takes("FP32[8,64]") fits(cpu=4)') == ["a@1", "a@2", "b@1"]
    assert names(discovery, 'takes("FP32[8,65]")') == []
    await etcd.commit([], [Delete(keys.version("a", "1")), *puts("c", "1")])
    await follows(discovery, etcd, keys.model("c"))
    assert names(discovery, "name = a OR name = c") == ["a@2", "c@1"]


async def test_it_goes_on_after_a_restart_of_etcd(etcd: Etcd, etcd_server: ProgramServer, discovery: Discovery) -> None:
    await etcd.commit([], puts("a", "1"))
    await follows(discovery, etcd, keys.model("a"))
    etcd_server.stop()
    assert names(discovery, "") == ["a@1"]
    etcd_server.start()
    await etcd_server.wait_ready()
    await etcd.commit([], [Delete(keys.version("a", "1")), *puts("b", "1")])
    await follows(discovery, etcd, keys.model("b"))
    assert names(discovery, "") == ["b@1"]


async def test_a_syntax_error_names_its_column(discovery: Discovery, etcd: Etcd) -> None:
    await etcd.commit([], puts("a", "1"))
    await follows(discovery, etcd, keys.model("a"))
    with pytest.raises(InvalidInputError, match="column 8"):
        discovery.search("name = ", "", 10, "")


async def test_a_record_that_nobody_can_read_harms_no_other(etcd: Etcd, discovery: Discovery) -> None:
    await etcd.commit([], [Put(keys.version("a", "2"), b"{}"), *puts("a", "1")])
    await follows(discovery, etcd, keys.model("a"))
    assert names(discovery, "") == ["a@1"]
