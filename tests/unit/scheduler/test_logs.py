"""What processes printed, read from real agents' servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from modelyard.deployment import Worker
from modelyard.errors import InvalidInputError, NotFoundError
from modelyard.etcd import Etcd
from modelyard.names import ModelVersion
from modelyard.rpc.server import Server
from modelyard.v1 import agent_pb2
from modelyard_scheduler.logs import Logs
from modelyard_scheduler.peers import read_log
from modelyard_scheduler.state import State
from modelyard_worker.logs import RunnerLogs
from modelyard_worker.servicer import AgentServicer


@pytest.fixture
async def state(etcd: Etcd, tmp_path: Path) -> AsyncIterator[State]:
    """Two workers that answer for what is printed into their directories, and one that is nowhere."""
    found = State(etcd, lambda: None)
    found.workers.items["gone"] = Worker("gone", "127.0.0.1:1", 1.0, 1, "i")
    async with AsyncExitStack() as stack:
        for name in ("w1", "w2"):
            server = Server(name)
            logs = RunnerLogs(tmp_path / name)
            server.add(agent_pb2.DESCRIPTOR.services_by_name["Agent"], AgentServicer(logs, lambda name: [name]))
            address = await server.start("127.0.0.1:0")
            stack.push_async_callback(server.stop)
            found.workers.items[name] = Worker(name, address, 1.0, 1, "i")
        yield found


def prints(directory: Path, name: str, text: bytes) -> None:
    with RunnerLogs(directory).open(name) as file:
        file.write(text)


async def test_every_process_of_a_job_is_read_though_nothing_of_it_is_placed(state: State, tmp_path: Path) -> None:
    prints(tmp_path / "w1", "~job-1@ranks", b"rank on w1\n")
    prints(tmp_path / "w2", "~job-1@ranks", b"rank on w2\n")
    prints(tmp_path / "w2", "~job-1@control", b"formation 1\n")
    prints(tmp_path / "w2", "~job-2@ranks", b"of another\n")
    told = [part async for part in Logs(state).of_job("job-1", 0)]
    away = [part for part in told if part[0] == "gone"]
    assert [part for part in told if part not in away] == [
        ("w2", "control", b"formation 1\n"),
        ("w1", "ranks", b"rank on w1\n"),
        ("w2", "ranks", b"rank on w2\n"),
    ]
    assert [name for _, name, _ in away] == ["control", "ranks"]


async def test_a_job_that_nobody_has_anything_of(state: State) -> None:
    del state.workers.items["gone"]
    with pytest.raises(NotFoundError, match="job-9: none of its processes has printed anything"):
        await anext(Logs(state).of_job("job-9", 0))


async def test_an_instance_says_if_nothing_was_printed_or_its_worker_is_away(state: State, tmp_path: Path) -> None:
    prints(tmp_path / "w1", "mlp@1", b"loaded\n")
    mlp = ModelVersion("mlp", "1")
    read = {w: b"".join([d async for d in Logs(state).of_instance(w, mlp, 0)]) for w in ("w1", "w2", "absent")}
    assert read["w1"] == b"loaded\n"
    assert b"nothing was printed on this worker" in read["w2"]
    assert read["absent"] == b"(this worker is away)\n"


@pytest.mark.parametrize("name", ["~../../etc/passwd@ranks", "~~job@ranks", "../x@1", "~@ranks"])
async def test_a_name_that_is_none_is_not_looked_for(state: State, name: str) -> None:
    with pytest.raises(InvalidInputError):
        _ = [part async for part in read_log(state.workers.items["w1"].address, name, 0)]
