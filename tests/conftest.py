"""Fixtures: real servers, once a run; a running suite, once a run; and suites of a test's own.

What is collected, and imported for it, is millions of objects that stay: the garbage collector leaves them alone.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

from modelyard.etcd import Delete, Etcd
from tests.servers import ProgramServer, new_etcd, new_redis
from tests.suites import RunningSuite

# Tests run side by side, each with processes of its own: threads of torch in all of them would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Shells have what they run in the background ignore SIGINT, and whatever that starts would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """A look at all of them holds up whatever this process does for up to seconds, as renewing a lease."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def _etcd_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProgramServer]:
    server = new_etcd(tmp_path_factory.mktemp("etcd"))
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def _redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProgramServer]:
    server = new_redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.close()


@pytest.fixture
async def etcd_server(_etcd_process: ProgramServer) -> ProgramServer:
    """The etcd of this run, answering; a test that stops it starts it again."""
    await _etcd_process.wait_ready()
    return _etcd_process


@pytest.fixture
async def redis_server(_redis_process: ProgramServer) -> ProgramServer:
    """The Redis of this run, answering; a test that stops it starts it again."""
    await _redis_process.wait_ready()
    return _redis_process


@pytest.fixture
async def etcd(etcd_server: ProgramServer) -> AsyncIterator[Etcd]:
    """A client of an empty etcd."""
    client = Etcd(etcd_server.endpoint)
    await client.wait_ready()
    await client.commit([], [Delete("/", prefix=True)])
    yield client
    await client.close()


@pytest.fixture
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningSuite]]:
    """Start suites of the test's own: `suite(workers=2)`; they are stopped afterwards."""
    started: list[RunningSuite] = []

    def start(**options: Any) -> RunningSuite:
        started.append(RunningSuite(tmp_path_factory.mktemp("suite"), **options))
        return started[-1]

    yield start
    for one in started:
        one.down()


@pytest.fixture(scope="session")
def running_suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    """A suite with two workers and two front doors on one port that all tests share: leave it as it was."""
    shared = RunningSuite(tmp_path_factory.mktemp("running-suite"), workers=2, processes=2)
    yield shared
    shared.down()
