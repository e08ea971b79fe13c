from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Hold
from modelyard.errors import InvalidInputError
from modelyard.etcd import Etcd
from modelyard.marks import mark
from modelyard_registry.artifacts.holds import DAY_S, Holds
from modelyard_registry.artifacts.store import ChunkStore, sha256
from modelyard_registry.artifacts.uploads import Uploads
from tests.waiting import eventually

DIGESTS = [sha256(str(n).encode()) for n in range(10_000)]


@pytest.fixture
def holds(etcd: Etcd) -> Holds:
    return Holds(etcd)


@pytest.fixture
async def uploads(holds: Holds, tmp_path: Path) -> Uploads:
    store = ChunkStore(str(tmp_path), "registry-0")
    await store.prepare()
    await store.put(sha256(b"here"), b"here")
    return Uploads(holds, store)


async def held(etcd: Etcd, owner: str = "") -> list[Hold]:
    listing = await etcd.list(keys.hold(owner))
    return [codec.decode(Hold, kv.value) for kv in listing.items.values()]


async def test_every_chunk_is_held_for_as_long_as_asked(etcd: Etcd, holds: Holds) -> None:
    before_s = time.time()
    await holds.hold("me", DIGESTS[:3], [DIGESTS[9]], ttl_s=60, tenant="acme")
    parts = await held(etcd, "me/")
    assert {chunk for part in parts for chunk in part.chunks} == {mark(digest) for digest in DIGESTS[:3]}
    assert [part.manifests for part in parts if part.manifests] == [(DIGESTS[9],)]
    for part in parts:
        assert part.tenant == "acme"
        assert before_s + 60 <= part.expire_time_s <= time.time() + 60


async def test_a_hold_of_any_size_is_split_into_values_below_64_kib(etcd: Etcd, holds: Holds) -> None:
    await holds.hold("me", DIGESTS, DIGESTS)
    listing = await etcd.list(keys.HOLDS)
    assert max(len(kv.value) for kv in listing.items.values()) < 64 << 10
    parts = await held(etcd)
    assert sorted(chunk for part in parts for chunk in part.chunks) == sorted(mark(digest) for digest in DIGESTS)
    assert sorted(manifest for part in parts for manifest in part.manifests) == sorted(DIGESTS)


async def test_holding_again_renews_and_does_not_add(etcd: Etcd, holds: Holds) -> None:
    await holds.hold("me", DIGESTS[:5], ttl_s=10)
    (first,) = await held(etcd)
    await holds.hold("me", [*reversed(DIGESTS[:5]), DIGESTS[0]], ttl_s=1000)
    (second,) = await held(etcd)
    assert second.chunks == first.chunks
    assert second.expire_time_s > first.expire_time_s + 900


async def test_a_hold_without_end(etcd: Etcd, holds: Holds) -> None:
    await holds.hold("me", DIGESTS[:1], ttl_s=0)
    assert [part.expire_time_s for part in await held(etcd)] == [0.0]


async def test_nothing_to_hold(etcd: Etcd, holds: Holds) -> None:
    await holds.hold("me", [])
    assert await held(etcd) == []


async def test_release_ends_what_its_owner_holds_and_nothing_else(etcd: Etcd, holds: Holds) -> None:
    for owner in ("me", "me-too", "mee"):
        await holds.hold(owner, DIGESTS[:3000])
    await holds.release("me")
    assert await held(etcd, "me/") == []
    assert len(await held(etcd)) == 4
    await holds.release("nobody")


async def test_a_hold_waits_until_its_chunks_are_not_condemned(etcd: Etcd, holds: Holds) -> None:
    await etcd.put(keys.CONDEMNED, codec.encode([mark(DIGESTS[1]), mark(DIGESTS[5])]))
    await holds.hold("another", DIGESTS[2:5])
    holding = asyncio.ensure_future(holds.hold("me", DIGESTS[:3]))
    await eventually(lambda: held(etcd, "me/"))
    done, _ = await asyncio.wait([holding], timeout=0.2)
    assert not done
    await etcd.delete(keys.CONDEMNED)
    await asyncio.wait_for(holding, 30)


async def test_it_does_not_wait_for_who_condemns_later_and_sees_it(etcd: Etcd, holds: Holds) -> None:
    await etcd.put(keys.CONDEMNED, codec.encode([mark(DIGESTS[1])]))
    holding = asyncio.ensure_future(holds.hold("me", DIGESTS[:3]))
    await eventually(lambda: held(etcd, "me/"))
    assert not holding.done()
    await etcd.put(keys.CONDEMNED, codec.encode([mark(DIGESTS[1])]))
    await asyncio.wait_for(holding, 30)


async def test_a_manifests_chunks_are_not_known_it_waits_for_any(etcd: Etcd, holds: Holds) -> None:
    await etcd.put(keys.CONDEMNED, codec.encode([mark(DIGESTS[1])]))
    holding = asyncio.ensure_future(holds.hold("me", [], DIGESTS[:1]))
    await eventually(lambda: held(etcd, "me/"))
    done, _ = await asyncio.wait([holding], timeout=0.2)
    assert not done
    await etcd.delete(keys.CONDEMNED)
    await asyncio.wait_for(holding, 30)


async def test_a_hold_waits_until_a_killed_collectors_lease_has_run_out(etcd: Etcd, holds: Holds) -> None:
    lease_id = await etcd.grant(60)
    await etcd.put(keys.CONDEMNED, codec.encode([mark(DIGESTS[0])]), lease_id)
    holding = asyncio.ensure_future(holds.hold("me", DIGESTS[:1]))
    await eventually(lambda: held(etcd))
    assert not holding.done()
    await etcd.revoke(lease_id)
    await asyncio.wait_for(holding, 30)


async def test_what_is_asked_for_is_held_for_a_day(etcd: Etcd, uploads: Uploads) -> None:
    digests = [*DIGESTS[:3], sha256(b"here")]
    assert await uploads.missing([*digests, *digests], "u1", "acme") == DIGESTS[:3]
    (hold,) = await held(etcd, "upload/acme/u1/")
    assert set(hold.chunks) == {mark(digest) for digest in digests}
    assert 0 < hold.expire_time_s - time.time() <= DAY_S
    await uploads.release("u1", "acme")
    assert await held(etcd) == []


async def test_uploads_of_one_name_are_told_apart_by_their_tenants(etcd: Etcd, uploads: Uploads) -> None:
    for tenant in ("a", "b"):
        await uploads.missing(DIGESTS[:1], "u1", tenant)
    await uploads.release("u1", "a")
    assert [hold.tenant for hold in await held(etcd)] == ["b"]


async def test_an_upload_without_a_name_is_held_too_once(etcd: Etcd, uploads: Uploads) -> None:
    for _ in range(3):
        assert await uploads.missing(DIGESTS[:2], "", "default") == DIGESTS[:2]
    assert len(await held(etcd)) == 1


@pytest.mark.parametrize(("digest", "upload"), [("x", "u1"), (DIGESTS[0], "../u1"), (DIGESTS[0], "a/b")])
async def test_what_is_malformed_holds_nothing(etcd: Etcd, uploads: Uploads, digest: str, upload: str) -> None:
    with pytest.raises(InvalidInputError):
        await uploads.missing([digest], upload, "default")
    assert await held(etcd) == []
