"""Watch over gRPC: what is there, and what changes, in order."""

from __future__ import annotations

from typing import Any

import grpc.aio
import pytest

from modelyard import keys
from modelyard.catalogue import Alias, Lifecycle, Model, Version
from modelyard.errors import InvalidInputError
from modelyard.etcd import Delete, Etcd, Put
from modelyard.rpc.status import error_of
from modelyard.v1 import registry_pb2 as pb
from tests.compaction import compact
from tests.integration.registry.remote import RegistryServer, Remote
from tests.integration.registry.watching import put, told, version, watching


async def test_it_tells_what_is_there_and_then_what_changes(etcd: Etcd, registry: Remote) -> None:
    await etcd.commit([], [put(Model("a")), put(version("a", "1")), put(Model("a"), Alias("prod", "1"))])
    revision = await etcd.commit([], [put(Model("b"))])
    async with watching(registry) as watch:
        assert await watch.take(4) == [("PUT", "a"), ("PUT", "a:prod"), ("PUT", "a@1"), ("PUT", "b")]
        synced = await watch.next()
        assert (synced.kind, synced.revision) == ("SYNCED", revision)
        await etcd.put(keys.alias_change("a", "prod", 1), b"{}")
        await etcd.put(keys.request("a", "x"), b"{}")
        await etcd.put(keys.counter("a"), b"7")
        await etcd.put(keys.worker("w"), b"{}")
        gone = version("a", "1", Lifecycle.DELETED)
        revision = await etcd.commit([], [Delete(keys.alias("a", "prod")), put(gone), put(Model("c"))])
        events = [await watch.next() for _ in range(3)]
        assert [told(event) for event in events] == [("DELETE", "a:prod"), ("PUT", "a@1"), ("PUT", "c")]
        assert {event.revision for event in events} == {revision}
        assert isinstance(events[1].resource, Version)
        assert (events[1].resource.state, events[1].resource.etag) == (Lifecycle.DELETED, str(revision))
        await etcd.commit([], [Delete(keys.model("a")), Delete(keys.model("a") + "/", prefix=True)])
        assert await watch.take(2) == [("DELETE", "a"), ("DELETE", "a@1")]


async def test_it_tells_what_the_registry_itself_does(registry: Remote, onnx_bytes: bytes) -> None:
    async with watching(registry) as watch:
        assert await watch.take(1) == [("SYNCED", "")]
        await registry("RegisterModel", name="m", description="fast")
        created = await watch.next()
        assert isinstance(created.resource, Model)
        assert (told(created), created.resource.description) == (("PUT", "m"), "fast")
        await registry.push("m", {"m.onnx": onnx_bytes})
        assert await watch.take(1) == [("PUT", "m@1")]
        await registry("SetAlias", model="m", alias="prod", version="1")
        assert await watch.until("PUT", "m:prod")
        await registry("DeleteModel", name="m", purge=True)
        assert set(await watch.take(3)) == {("DELETE", "m"), ("DELETE", "m@1"), ("DELETE", "m:prod")}


async def test_a_prefix_is_of_the_names_of_models(etcd: Etcd, registry: Remote) -> None:
    await etcd.commit([], [put(Model(name)) for name in ("image", "image-a", "imag", "audio")])
    async with watching(registry, prefix="image") as watch:
        assert await watch.take(3) == [("PUT", "image"), ("PUT", "image-a"), ("SYNCED", "")]
        await etcd.commit([], [put(Model("audio")), put(version("image-a", "1")), put(version("imag", "1"))])
        assert await watch.take(1) == [("PUT", "image-a@1")]


@pytest.mark.parametrize("bad", [{"start_revision": -1}, {"name_prefix": "a/versions"}, {"name_prefix": "é"}])
async def test_a_bad_request_is_refused(registry: Remote, bad: dict[str, Any]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await registry.stub.Watch(pb.WatchRequest(**bad)).read()
    assert isinstance(error_of(caught.value), InvalidInputError)


async def test_it_goes_on_from_a_revision(etcd: Etcd, registry: Remote) -> None:
    revisions = [await etcd.commit([], [put(Model(f"m{n}")), put(version(f"m{n}", "1"))]) for n in range(4)]
    async with watching(registry, revisions[1]) as watch:
        events = [await watch.next() for _ in range(6)]
        expected = [("PUT", name) for n in (1, 2, 3) for name in (f"m{n}", f"m{n}@1")]
        assert [told(event) for event in events] == expected
        assert [event.revision for event in events] == [r for r in revisions[1:] for _ in range(2)]


async def test_a_record_that_nobody_can_read_is_passed_over(etcd: Etcd, server: RegistryServer) -> None:
    registry = Remote(server.endpoint)
    no_text = b"\xff".decode(errors="surrogateescape")
    bad = [
        Put(keys.version("a", "bad"), b"{}"),
        Put(keys.model("c"), b'{"name":"\xff"}'),
        Put(keys.model(no_text), b"{}"),
    ]
    await etcd.commit([], [*bad, put(Model("a"))])
    async with watching(registry) as watch:
        assert await watch.take(2) == [("PUT", "a"), ("SYNCED", "")]
        await etcd.commit([], [Put(keys.model("b"), b"["), *bad])
        await etcd.commit([], [Delete(keys.model(no_text)), put(version("a", "1"))])
        assert await watch.take(1) == [("PUT", "a@1")]
    assert "record not understood" in server.log.read_text()
    await registry.close()


async def test_compacted_history_is_a_reset(etcd: Etcd, registry: Remote) -> None:
    first = await etcd.commit([], [put(Model("gone"))])
    await etcd.commit([], [Delete(keys.model("gone")), put(Model("a"))])
    await compact(etcd)
    async with watching(registry, first) as watch:
        assert await watch.take(3) == [("RESET", ""), ("PUT", "a"), ("SYNCED", "")]
        await etcd.commit([], [put(Model("b"))])
        assert await watch.take(1) == [("PUT", "b")]


async def test_a_revision_that_etcd_has_not_come_to_is_a_reset(etcd: Etcd, registry: Remote) -> None:
    newest = await etcd.commit([], [put(Model("a"))])
    async with watching(registry, newest + 1) as at_the_end, watching(registry, newest + 2) as beyond:
        assert await beyond.take(3) == [("RESET", ""), ("PUT", "a"), ("SYNCED", "")]
        await etcd.commit([], [put(Model("b"))])
        assert await at_the_end.take(1) == [("PUT", "b")]
