"""How long a registry takes to start with 10,000 models of 3 versions each in etcd, and what a Search takes then.

A real etcd, a real registry process, and Search over gRPC, one call at a time. The time of a start is that from the
start of the process to its first answer to a Search of everything.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc.aio

from bench.processes import machine
from bench.search import FILTERS, ORDERS, catalogue, p99
from bench.transfer import Process
from modelyard import codec
from modelyard.errors import UnavailableError
from modelyard.etcd import Etcd, Put
from modelyard.rpc.status import error_of
from modelyard.v1 import registry_pb2 as pb
from tests.integration.registry.remote import RegistryServer, Remote
from tests.servers import new_etcd

BATCH = 100
"""Records written in one transaction; etcd takes 128."""
RETRY_S = 0.01
DEADLINE_S = 300.0


async def fill(endpoint: str, models: int, versions: int) -> None:
    """Write the catalogue as the registry keeps it."""
    etcd = Etcd(endpoint)
    await etcd.wait_ready()
    puts = (Put(key, codec.encode(value)) for key, value in catalogue(models, versions, random.Random(2)))
    while batch := list(itertools.islice(puts, BATCH)):
        await etcd.commit([], batch)
    await etcd.close()


async def first_answer(registry: Remote) -> None:
    """Return when Search answers."""
    ends_s = time.perf_counter() + DEADLINE_S
    while True:
        try:
            await registry.stub.Search(pb.SearchRequest(page_size=1), timeout=DEADLINE_S, wait_for_ready=True)
        except grpc.aio.AioRpcError as failure:
            if not isinstance(error_of(failure), UnavailableError) or time.perf_counter() > ends_s:
                raise
        else:
            return
        await asyncio.sleep(RETRY_S)


async def start(server: RegistryServer) -> dict[str, Any]:
    """Start it; return what that took, by the clock and of the processor, and the memory at most."""
    start_s = time.perf_counter()
    server.start()
    registry = Remote(server.endpoint)
    await first_answer(registry)
    taken_s = time.perf_counter() - start_s
    await registry.close()
    process = Process(server.pid)
    memory = {"registry_peak_mib": process.peak_mib(), "registry_mib": process.resident_mib()}
    return {"s": round(taken_s, 2), "cpu_s": round(process.cpu_s(), 2)} | memory


async def search_ms(registry: Remote, filter_text: str, order_by: str, page_size: int) -> float:
    """Search once; return the milliseconds that it took."""
    request = pb.SearchRequest(filter=filter_text, order_by=order_by, page_size=page_size)
    start_s = time.perf_counter()
    await registry.stub.Search(request, timeout=DEADLINE_S)
    return (time.perf_counter() - start_s) * 1e3


async def by_kind(address: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Search with every kind of filter; the first of each order is not counted."""
    registry, rng = Remote(address), random.Random(3)
    rows = []
    for order_by, (kind, make) in itertools.product(options.order_by, FILTERS.items()):
        texts = [make(rng) for _ in range(options.searches + 1)]
        _, *times = [await search_ms(registry, text, order_by, options.page_size) for text in texts]
        rows.append(row(kind, order_by, times))
    await registry.close()
    return rows


def row(kind: str, order_by: str, times_ms: Iterable[float]) -> dict[str, Any]:
    """The summary of one kind of search."""
    times = list(times_ms)
    return {"filter": kind, "order_by": order_by, "p50_ms": round(statistics.median(times), 2), "p99_ms": p99(times)}


async def measure(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Fill an etcd, start a registry a few times, search."""
    etcd = new_etcd(directory / "etcd")
    etcd.start()
    server = RegistryServer(directory / "registry", etcd.endpoint)
    try:
        await etcd.wait_ready()
        empty = await start(server)
        await fill(etcd.endpoint, options.models, options.versions)
        starts = []
        for _ in range(options.starts):
            server.stop()
            starts.append(await start(server))
        rows = await by_kind(server.endpoint, options)
    finally:
        server.close()
        etcd.close()
    return {
        "start_s": statistics.median(taken["s"] for taken in starts),
        "start_of_an_empty_one": empty,
        "starts": starts,
        "worst_p99_ms": max(r["p99_ms"] for r in rows),
        "rows": rows,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--versions", type=int, default=3)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--searches", type=int, default=100)
    parser.add_argument("--page-size", type=int, default=100)
    parser.add_argument("--order-by", nargs="*", default=ORDERS[:2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = asyncio.run(measure(Path(scratch), options))
    of = {"models": options.models, "versions": options.models * options.versions, "page_size": options.page_size}
    print(json.dumps({"machine": machine()} | of | found, indent=1))


if __name__ == "__main__":
    main()
