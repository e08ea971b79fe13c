"""The collector in this process, on a real etcd and a directory: what goes, what stays, what stops it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Collected, Hold
from modelyard.errors import AbortedError, DataLossError, PreconditionError
from modelyard.etcd import Etcd
from modelyard_registry.artifacts.collector import BATCH_CHUNKS, Collector
from modelyard_registry.artifacts.holds import Holds
from modelyard_registry.artifacts.manifests import digest_of, save_manifest
from modelyard_registry.artifacts.store import sha256
from modelyard_registry.artifacts.turn import turn
from modelyard_registry.artifacts.uploads import owner_of
from tests.integration.registry.contents import Contents, chunk, manifest, new_contents
from tests.servers import ProgramServer
from tests.waiting import eventually

GARBAGE = [chunk("garbage", n) for n in range(5)]
CHUNKS = [chunk("kept", n) for n in range(5)]


@pytest.fixture
async def contents(etcd: Etcd, tmp_path: Path) -> Contents:
    return await new_contents(etcd, tmp_path)


@pytest.fixture
def collector(contents: Contents) -> Collector:
    return Collector(contents.etcd, contents.store, "registry-0")


async def test_an_empty_store(collector: Collector) -> None:
    assert await collector.collect() == Collected()


async def test_what_nobody_refers_to_goes_and_is_counted(contents: Contents, collector: Collector) -> None:
    kept = await contents.publish("m", "1", *CHUNKS)
    await contents.publish("m", "2", *CHUNKS[:2])
    kept.append(digest_of(manifest(CHUNKS[:2])))
    await contents.put(*GARBAGE)
    sizes = await contents.store.sizes(kept)
    expected = Collected(5, 500, 7, sum(size or 0 for size in sizes.values()))
    before = await contents.chunks()
    assert await collector.collect(dry_run=True) == expected
    assert await contents.chunks() == before
    assert await collector.collect() == expected
    assert await contents.chunks() == set(kept) == await contents.referred_to()
    assert await collector.collect() == Collected(0, 0, 7, expected.kept_bytes)
    assert (await contents.etcd.list(keys.PREFIX + "collection/")).items == {}


async def test_more_than_a_batch(contents: Contents, collector: Collector) -> None:
    await contents.publish("m", "1", *CHUNKS)
    many = [chunk("many", n) for n in range(2 * BATCH_CHUNKS + 10)]
    await contents.put(*many)
    assert (await collector.collect(dry_run=True)).removed_chunks == len(many)
    collected = await collector.collect()
    assert (collected.removed_chunks, collected.removed_bytes, collected.kept_chunks) == (len(many), 100 * len(many), 6)
    assert await contents.chunks() == await contents.referred_to()


async def test_purged_versions_give_their_chunks_free_and_deleted_ones_do_not(
    contents: Contents, collector: Collector
) -> None:
    kept = await contents.publish("m", "in-grace", CHUNKS[0])
    await contents.delete("m", "in-grace", CHUNKS[0], ago_s=-60)
    await contents.publish("m", "due", *CHUNKS[:2])
    await contents.delete("m", "due", *CHUNKS[:2])
    await contents.publish("n", "1", CHUNKS[2])
    await contents.delete_model("n")
    would = await collector.collect(dry_run=True)
    assert would.purged == ("m@due", "n")
    assert (would.removed_chunks, would.kept_chunks) == (4, 2)
    assert await collector.collect() == would
    assert await contents.chunks() == set(kept)


async def test_uploads_that_were_never_published_are_let_go_when_asked(
    contents: Contents, collector: Collector
) -> None:
    await contents.put(*GARBAGE)
    holds = Holds(contents.etcd)
    await holds.hold(owner_of("u", "acme"), [sha256(data) for data in GARBAGE[:3]])
    await holds.hold("checkpoint", [sha256(GARBAGE[3])])
    assert (await collector.collect(dry_run=True)).removed_chunks == 1
    assert (await collector.collect(dry_run=True, uploads=True)).removed_chunks == 4
    assert (await collector.collect()).removed_chunks == 1
    assert (await collector.collect(uploads=True)).removed_chunks == 3
    assert await contents.chunks() == {sha256(GARBAGE[3])}


async def test_what_others_hold_is_spared_until_it_is_over(contents: Contents, collector: Collector) -> None:
    digests = await contents.put(*GARBAGE)
    job = await contents.put(*CHUNKS)
    job.append(await save_manifest(contents.store, manifest(CHUNKS)))

    async def held(owner: str, hold: Hold) -> None:
        await contents.etcd.put(keys.hold(owner), codec.encode(hold))

    await held("job-7", Hold((digests[0][:16],), (job[-1],)))
    await held("whole digests", Hold((digests[1],), expire_time_s=time.time() + 60))
    await held("over", Hold((digests[2],), expire_time_s=time.time() - 1))
    assert (await collector.collect()).removed_chunks == 3
    assert await contents.chunks() == {*digests[:2], *job}
    assert await contents.etcd.keys(keys.HOLDS) == [keys.hold("job-7"), keys.hold("whole digests")]
    for owner in ("job-7", "whole digests"):
        await contents.etcd.delete(keys.hold(owner))
    assert (await collector.collect()).removed_chunks == 2 + len(job)
    assert await contents.chunks() == set()


@pytest.mark.parametrize("damage", ["gone", "short", "no manifest", "no record", "no hold", "held manifest"])
async def test_what_cannot_be_read_stops_it(
    contents: Contents, collector: Collector, tmp_path: Path, damage: str
) -> None:
    await contents.publish("m", "good", *CHUNKS[1:])
    *_, digest = await contents.publish("m", "bad", *CHUNKS)
    await contents.put(*GARBAGE)
    path = tmp_path / "chunks" / digest[:2] / digest
    named = "the manifest of m@bad"
    match damage:
        case "gone":
            path.unlink()
        case "short":
            path.write_bytes(path.read_bytes()[:-1])
        case "no manifest":
            record = (await contents.etcd.get(keys.version("m", "bad"))).value  # type: ignore[union-attr]
            other = sha256(CHUNKS[0]).encode()
            await contents.etcd.put(keys.version("m", "bad"), record.replace(digest.encode(), other))
        case "no record":
            await contents.etcd.put(keys.version("m", "bad"), b"of a later release")
            named = "models/m/versions/bad"
        case "no hold":
            await contents.etcd.put(keys.hold("job"), codec.encode(Hold(("short",))))
            named = "the hold of job"
        case "held manifest":
            await contents.etcd.put(keys.hold("job"), codec.encode(Hold((), (sha256(b"unknown"),))))
            named = "the manifest of the hold of job"
    before = await contents.chunks()
    for dry_run in (True, False):
        with pytest.raises(DataLossError, match=f"collection stopped: .*{named}"):
            await collector.collect(dry_run=dry_run)
    assert await contents.chunks() == before
    assert await contents.etcd.keys(keys.PREFIX + "collection/") == []


@pytest.mark.parametrize("damage", ["gone", "short"])
async def test_a_damaged_manifest_of_a_checkpoint_is_passed_over_by_its_name(
    contents: Contents, collector: Collector, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    older = [*await contents.put(*CHUNKS[:2]), await save_manifest(contents.store, manifest(CHUNKS[:2]))]
    newer = [*await contents.put(*CHUNKS[2:]), await save_manifest(contents.store, manifest(CHUNKS[2:]))]
    owner = keys.checkpoints_owner("job-1")
    await contents.etcd.put(keys.hold(owner), codec.encode(Hold(manifests=(newer[-1], older[-1]))))
    await contents.put(*GARBAGE)
    path = tmp_path / "chunks" / newer[-1][:2] / newer[-1]
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    await collector.collect()
    assert await contents.chunks() == set(older)
    passed = next(record for record in caplog.records if record.message == "checkpoint passed over")
    assert (passed.checkpoint, passed.owner) == (newer[-1], f"the hold of {owner}")  # type: ignore[attr-defined]
    # What is damaged and not a checkpoint alone stops it all the same.
    await contents.etcd.put(keys.hold("jobs/job-1/input/dataset"), codec.encode(Hold(manifests=(newer[-1],))))
    with pytest.raises(DataLossError, match="the hold of jobs/job-1/input/dataset"):
        await collector.collect()


async def test_a_damaged_chunk_is_kept_like_any_other(contents: Contents, collector: Collector, tmp_path: Path) -> None:
    digest, *_ = await contents.publish("m", "1", *CHUNKS)
    (tmp_path / "chunks" / digest[:2] / digest).write_bytes(b"!")
    assert (await collector.collect()).kept_chunks == 6


async def test_one_at_a_time(contents: Contents, collector: Collector) -> None:
    await contents.put(*GARBAGE)
    async with turn(contents.etcd, "registry-1"):
        with pytest.raises(PreconditionError, match="expected none under way, but registry-1 is collecting"):
            await collector.collect()
        assert (await collector.collect(dry_run=True)).removed_chunks == 5
    assert (await collector.collect()).removed_chunks == 5


async def test_a_turn_ends_with_its_lease(contents: Contents) -> None:
    async with turn(contents.etcd, "registry-0", ttl_s=2) as mine:
        mine.check()
        await mine.condemn(["a" * 16])
        held = await contents.etcd.get(keys.COLLECTOR)
        assert held is not None
        await contents.etcd.revoke(held.lease_id)
        assert await contents.etcd.get(keys.CONDEMNED) is None
        async with turn(contents.etcd, "registry-1"):
            with pytest.raises(AbortedError, match=r"another collector took its place|not renewed in time"):
                await mine.acquit()
        await eventually(lambda: _refuses(mine.check))


def _refuses(check: object) -> bool:
    try:
        check()  # type: ignore[operator]
    except AbortedError:
        return True
    return False


async def test_a_turn_is_kept_for_as_long_as_it_takes(contents: Contents) -> None:
    etcd = contents.etcd
    async with turn(etcd, "registry-0", ttl_s=3) as mine:
        held = await etcd.get(keys.COLLECTOR)
        await etcd.put("/witness", b"", await etcd.grant(3))  # its lease runs out, as nobody keeps it alive

        async def runs_out() -> bool:
            mine.check()
            assert await etcd.get(keys.COLLECTOR) == held
            return await etcd.get("/witness") is None

        await eventually(runs_out)


async def test_it_stops_while_etcd_is_away(contents: Contents, etcd_server: ProgramServer) -> None:
    async with turn(contents.etcd, "registry-0", ttl_s=3) as mine:
        mine.check()
        etcd_server.suspend()
        try:
            await eventually(lambda: _refuses(mine.check))
        finally:
            etcd_server.resume()


async def test_a_collection_that_is_cancelled_leaves_nothing_behind(contents: Contents) -> None:
    collector = Collector(contents.etcd, contents.store, "registry-0", ttl_s=4)
    await contents.publish("m", "1", *CHUNKS)
    await contents.put(*(chunk(n) for n in range(3000)))
    for _ in range(20):
        collection = asyncio.ensure_future(collector.collect())
        await eventually(lambda: contents.etcd.get(keys.CONDEMNED), 60)
        collection.cancel()
        await asyncio.wait([collection])
        if collection.cancelled():
            break
        await contents.put(*(chunk(n) for n in range(3000)))
    # A removal that was cut short may still be under way elsewhere: its chunks stay condemned for a while.
    await eventually(lambda: _is_free(contents.etcd))
    await Holds(contents.etcd).hold("me", [])
    assert (await collector.collect()).kept_chunks == 6


async def _is_free(etcd: Etcd) -> bool:
    return not await etcd.keys(keys.PREFIX + "collection/")


async def test_it_collects_now_and_then_whatever_happens(
    contents: Contents, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await asyncio.wait_for(collector.run(0), 30)
    await contents.etcd.put(keys.version("m", "1"), b"this cannot be read")
    await contents.put(*GARBAGE)
    async with turn(contents.etcd, "registry-1"):
        running = asyncio.ensure_future(collector.run(0.01))
        await eventually(lambda: "not collected" in caplog.messages)
    await eventually(lambda: "collection failed" in caplog.messages)
    assert "collected" not in caplog.messages
    await contents.etcd.delete(keys.version("m", "1"))
    await eventually(lambda: "collected" in caplog.messages)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert await contents.chunks() == set()
