import asyncio
import contextlib
import shutil
from pathlib import Path

import pytest

from modelyard.errors import UnavailableError
from modelyard.etcd import (
    Batch,
    Delete,
    Etcd,
    HistoryLostError,
    Put,
)
from tests.compaction import compact
from tests.servers import ProgramServer, new_etcd
from tests.waiting import eventually

PREFIX = "/test/"


def names(batch: Batch) -> list[str]:
    """The keys of a batch, `-` before those that are deleted."""
    return [("-" * (c.value is None)) + c.key.removeprefix(PREFIX) for c in batch.changes]


async def test_a_watch_tells_each_transaction_together_in_its_order(etcd: Etcd) -> None:
    start = await etcd.commit([], [Put("/test/b", b""), Put("/elsewhere", b""), Put("/test/a", b"")])
    async with contextlib.aclosing(etcd.watch(PREFIX, start)) as stream:
        assert names(await anext(stream)) == ["b", "a"]
        await etcd.put("/elsewhere", b"")
        last = await etcd.commit([], [Put("/test/c", b""), Delete("/test/b"), Put("/test/a", b"1")])
        batch = await anext(stream)
        assert (batch.revision, names(batch)) == (last, ["c", "-b", "a"])
        assert {c.revision for c in batch.changes} == {last}


async def test_transactions_of_many_megabytes_come_whole(etcd: Etcd) -> None:
    start = 0
    for number in range(8):
        last = await etcd.commit([], [Put(f"/test/{key:03}", bytes(12_000) + b"%d" % number) for key in range(100)])
        start = start or last
    async with contextlib.aclosing(etcd.watch(PREFIX, start)) as stream:
        batches = [await anext(stream) for _ in range(8)]
    assert [b.revision for b in batches] == list(range(start, last + 1))
    assert all(names(b) == [f"{key:03}" for key in range(100)] for b in batches)


class Written:
    """Transactions written one after the other, whatever becomes of etcd."""

    def __init__(self, endpoint: str) -> None:
        self.count = 0
        self._client = Etcd(endpoint)
        self._task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while True:
            puts = [Put(f"/test/{self.count % 5}-{key}", b"%d" % self.count) for key in range(3)]
            with contextlib.suppress(UnavailableError):
                await self._client.commit([], [*puts, Delete(f"/test/{(self.count - 2) % 5}-1")])
                self.count += 1

    async def more(self) -> None:
        """Wait until there are more."""
        enough = self.count + 30
        await eventually(lambda: self.count >= enough)

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._client.close()


async def collect(client: Etcd, start: int, seen: list[Batch]) -> None:
    async with contextlib.aclosing(client.watch(PREFIX, start)) as stream:
        async for batch in stream:
            seen.append(batch)  # noqa: PERF401 (it is looked at while it grows)


async def test_a_watch_has_no_gap_and_no_repetition_across_restarts_of_etcd(
    etcd: Etcd, etcd_server: ProgramServer
) -> None:
    start = await etcd.revision() + 1
    seen: list[Batch] = []
    watching = asyncio.create_task(collect(etcd, start, seen))
    written = Written(etcd_server.endpoint)
    for _ in range(4):
        await written.more()
        await etcd_server.restart()
    await written.more()
    await written.stop()
    last = await etcd.commit([], [Put("/test/last", b"")])
    await eventually(lambda: seen[-1].revision == last)
    watching.cancel()
    truth: list[Batch] = []
    reading = asyncio.create_task(collect(etcd, start, truth))
    await eventually(lambda: truth and truth[-1].revision == last)
    reading.cancel()
    assert seen == truth
    assert len(seen) > 150


async def test_a_watch_goes_on_where_it_was_even_if_it_was_long_quiet(etcd: Etcd, etcd_server: ProgramServer) -> None:
    start = await etcd.commit([], [Put("/test/a", b"")])
    seen: list[Batch] = []
    watching = asyncio.create_task(collect(etcd, start, seen))
    await eventually(lambda: seen)
    for _ in range(20):
        await etcd.put("/elsewhere", b"")
    await etcd_server.restart()
    await etcd.put("/test/b", b"")
    await eventually(lambda: len(seen) == 2)
    watching.cancel()
    assert [names(batch) for batch in seen] == [["a"], ["b"]]


async def test_a_watch_of_compacted_history_is_told_to_begin_anew(etcd: Etcd) -> None:
    start = await etcd.commit([], [Put("/test/a", b"")])
    for _ in range(3):
        await etcd.put("/test/a", b"1")
    await compact(etcd)
    with pytest.raises(HistoryLostError, match=f"no history from revision {start} on"):
        await anext(etcd.watch(PREFIX, start))


async def test_deletions_of_the_compacted_revision_are_not_passed_over(etcd: Etcd) -> None:
    await etcd.put("/test/a", b"")
    deleted = await etcd.commit([], [Delete("/test/a")])
    await compact(etcd)
    await etcd.put("/test/b", b"")
    with pytest.raises(HistoryLostError):
        await anext(etcd.watch(PREFIX, deleted))
    assert names(await anext(etcd.watch(PREFIX, deleted + 1))) == ["b"]


async def test_a_watch_may_begin_behind_the_newest_revision_but_not_beyond(etcd: Etcd) -> None:
    newest = await etcd.commit([], [Put("/test/a", b"")])
    async with contextlib.aclosing(etcd.watch(PREFIX, newest + 1)) as stream:
        following = asyncio.ensure_future(anext(stream))
        with pytest.raises(HistoryLostError, match=f"was at revision {newest + 1} and is at {newest}"):
            await anext(etcd.watch(PREFIX, newest + 2))
        await etcd.put("/test/b", b"")
        assert names(await following) == ["b"]


async def test_a_watch_notices_that_etcd_was_restored_from_a_backup(tmp_path: Path) -> None:
    server = new_etcd(tmp_path)
    server.start()
    client = Etcd(server.endpoint)
    try:
        await client.wait_ready()
        await client.put("/test/a", b"")
        server.stop()
        shutil.copytree(tmp_path / "data", tmp_path / "backup")
        server.start()
        await client.wait_ready()
        for _ in range(5):
            last = await client.commit([], [Put("/test/b", b"")])
        stream = client.watch(PREFIX, last)
        assert names(await anext(stream)) == ["b"]
        server.stop()
        shutil.rmtree(tmp_path / "data")
        shutil.copytree(tmp_path / "backup", tmp_path / "data")
        server.start()
        with pytest.raises(HistoryLostError, match="restored from a backup"):
            await anext(stream)
    finally:
        await client.close()
        server.close()


async def test_closing_a_watch_ends_it(etcd: Etcd) -> None:
    before = asyncio.all_tasks()
    start = await etcd.commit([], [Put("/test/a", b"")])
    stream = etcd.watch(PREFIX, start)
    await anext(stream)
    await stream.aclose()
    await eventually(lambda: asyncio.all_tasks() <= before)
