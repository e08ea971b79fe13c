"""Search over gRPC: pages, errors with their column, and an index that follows etcd through its restart."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Alias, Model, Resources, Signature, TensorSpec, Version
from modelyard.errors import InvalidInputError
from modelyard.etcd import Delete, Etcd, Listing, Put
from modelyard.rpc.status import MIN_REVISION_KEY
from modelyard.tasks import background
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.search.discovery import Discovery
from tests.integration.registry.remote import RegistryServer, Remote
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


async def test_what_is_found_has_the_etags_of_its_records(etcd: Etcd, discovery: Discovery) -> None:
    published = await etcd.commit([], puts("a", "1"))
    alias = await etcd.commit([], [Put(keys.alias("a", "prod"), codec.encode(Alias("prod", "1")))])
    changed = await etcd.commit([], [Put(keys.model("a"), codec.encode(Model("a", "new")))])
    await follows(discovery, etcd, keys.model("a"))
    ((model, found),) = discovery.search("", "", 10, "").results
    assert (model.etag, model.aliases[0].etag, found.etag) == (str(changed), str(alias), str(published))


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


async def test_what_is_no_text_harms_no_other(etcd: Etcd, discovery: Discovery) -> None:
    no_text = b"\xff".decode(errors="surrogateescape")
    bad = [Put(keys.model("x"), b'{"name":"\xff"}'), Put(keys.version("a", no_text), codec.encode(version("a", "3")))]
    await etcd.commit([], [*bad, *puts("a", "1")])
    await follows(discovery, etcd, keys.model("a"))
    assert names(discovery, "") == ["a@1"]


async def test_a_registry_starts_whatever_is_in_etcd(etcd: Etcd, new_registry: Callable[..., RegistryServer]) -> None:
    no_text = b"\xff".decode(errors="surrogateescape")
    bad = [keys.model("x"), keys.model(no_text), keys.hold("x"), keys.worker("x"), keys.member("registry", no_text)]
    await etcd.commit([], [*(Put(key, b'{"name":"\xff"}') for key in bad), *puts("a", "1")])
    server = new_registry()
    await server.wait_ready()
    registry = Remote(server.endpoint)
    written = await etcd.commit([], puts("b", "1"))
    metadata = ((MIN_REVISION_KEY, str(written)),)
    found = await registry.stub.Search(pb.SearchRequest(), metadata=metadata, wait_for_ready=True, timeout=30)
    assert [result.model.name for result in found.results] == ["a", "b"]
    await registry.close()
    server.signal_stop()
    assert server.returncode() == 0


async def test_an_index_lists_models_and_nothing_else(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    true_snapshot = Etcd.snapshot

    def snapshot(client: Etcd, prefix: str) -> AsyncGenerator[Listing, None]:
        listed.append(prefix)
        return true_snapshot(client, prefix)

    monkeypatch.setattr(Etcd, "snapshot", snapshot)
    discovery = Discovery(etcd)
    async with background(discovery.run()):
        await eventually(lambda: discovery.revision)
        await etcd.put(keys.hold("x"), b"")
        await follows(discovery, etcd, keys.hold("x"))
    assert listed == [keys.MODELS]
