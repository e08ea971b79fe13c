"""One push, pull or many streams in a process of its own: `python -m bench.move`. Prints what it took as JSON."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import resource
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

from modelyard.aio import Client
from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.results import Progress
from modelyard.rpc.channel import open_channel
from modelyard.sdk import routes
from modelyard.sdk.stubs import registry_stub
from modelyard.sdk.upload import PIECE_BYTES
from modelyard.v1 import registry_pb2 as pb

MODEL = "table"


async def timed(work: Awaitable[object]) -> dict[str, Any]:
    """Wait for it; return its time by the clock, CPU time and the memory at the most."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    await work
    end_s, end_cpu_s = time.perf_counter(), time.process_time()
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"s": end_s - start_s, "cpu_s": end_cpu_s - start_cpu_s, "client_peak_mib": round(peak_kib / 1024, 1)}


async def push(client: Client, directory: Path) -> dict[str, Any]:
    """Push; say what was sent."""
    seen: list[Progress] = []
    taken = await timed(client.push(MODEL, directory, progress=seen.append))
    return taken | {"sent_mib": seen[-1].done_bytes >> 20}


async def pull(client: Client, directory: Path) -> dict[str, Any]:
    """Pull the newest version."""
    return await timed(client.pull(MODEL, directory))


class Streams:
    """Uploads, then downloads, straight to a registry, each stream on a connection of its own."""

    def __init__(self, streams: int, chunks: int) -> None:
        self._streams = streams
        self._chunks = chunks
        self._random = os.urandom(CHUNK_SIZE_BYTES)
        self._digests: list[list[str]] = [[] for _ in range(streams)]

    def chunk(self) -> bytes:
        """One that nobody has."""
        return os.urandom(16) + self._random[16:]

    async def _messages(self, stream: int) -> AsyncIterator[pb.UploadChunksRequest]:
        for _ in range(self._chunks):
            data = self.chunk()
            digest = hashlib.sha256(data).hexdigest()
            self._digests[stream].append(digest)
            yield pb.UploadChunksRequest(header=pb.ChunkHeader(digest=digest, size_bytes=len(data)))
            for start in range(0, len(data), PIECE_BYTES):
                yield pb.UploadChunksRequest(data=data[start : start + PIECE_BYTES])

    async def _upload(self, stub: Any, stream: int) -> None:
        answer = await stub.UploadChunks(self._messages(stream))
        assert answer.chunks == self._chunks

    async def _download(self, stub: Any, stream: int) -> None:
        count = 0
        async for part in stub.DownloadChunks(pb.DownloadChunksRequest(digests=self._digests[stream])):
            count += len(part.data)
        assert count == self._chunks * CHUNK_SIZE_BYTES

    async def run(self, address: str) -> dict[str, Any]:
        """Move everything; return MiB a second."""
        channels = [open_channel(address) for _ in range(self._streams)]
        stubs = [registry_stub(channel) for channel in channels]
        mib = self._streams * self._chunks * CHUNK_SIZE_BYTES / (1 << 20)
        found: dict[str, Any] = {}
        for name, move in (("upload", self._upload), ("download", self._download)):
            taken = await timed(asyncio.gather(*(move(stub, n) for n, stub in enumerate(stubs))))
            found[f"{name}_mib_per_s"] = round(mib / taken["s"])
        for channel in channels:
            await channel.close(None)
        return found


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do what the options say."""
    if options.way == "front door":
        routes.REACH_S = 0.0  # no address can be reached so soon
    async with Client(options.address, timeout_s=120) as client:
        if options.verb == "streams":
            address = (await client.endpoints()).registries[0]
            return await Streams(options.streams, options.chunks).run(address)
        return await {"push": push, "pull": pull}[options.verb](client, options.directory)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["push", "pull", "streams"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--address", required=True)
    parser.add_argument("--way", choices=["direct", "front door"], default="direct")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--chunks", type=int, default=8)
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
