from __future__ import annotations

import asyncio
import inspect
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import modelyard
from modelyard import Client, aio
from modelyard import client as sync
from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import CancelledError, NotFoundError, UnavailableError
from modelyard.jobs.states import JobState
from modelyard.results import Progress
from modelyard.sdk.jobs import large
from modelyard.sdk.jobs.calls import JobCalls
from modelyard.sdk.jobs.training import TrainingCalls
from modelyard.v1 import jobs_pb2 as pb
from tests.unit.fake_jobs import npy
from tests.unit.fakes import FakeSuite, serve_in_thread
from tests.waiting import wait_until

X = np.zeros((1, 2), np.float32)


@pytest.fixture
def fakes() -> Iterator[FakeSuite]:
    with serve_in_thread() as serving:
        yield serving


@pytest.fixture
def client(fakes: FakeSuite) -> Iterator[Client]:
    with Client(fakes.address, timeout_s=20) as opened:
        yield opened


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(f).parameters) for name, f in found if not name.startswith("_")}

    assert methods(Client) == methods(aio.Client) | {"close": ["self"]}
    assert all(inspect.getdoc(getattr(Client, name)) for name in methods(Client))


def test_both_faces_of_jobs_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(f).parameters) for name, f in found if not name.startswith("_")}

    own = {*JobCalls.__dict__, *TrainingCalls.__dict__}
    assert methods(sync.Jobs) == {name: found for name, found in methods(JobCalls).items() if name in own}
    assert methods(sync.PendingCall) == methods(large.PendingCall)
    assert all(inspect.getdoc(getattr(sync.Jobs, name)) for name in methods(sync.Jobs))


def test_jobs_and_large_calls(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"not looked into")
    client.push("digits", path, declared=Signature((), (TensorSpec("y", "FP32", (-1,)),)))
    y = np.arange(5, dtype=np.float32)
    fakes.jobs.files = {"y": npy(y)}
    fakes.jobs.tell("SNAPSHOT", "RUNNING", rows=5)
    fakes.jobs.end(done_rows=5)
    job = client.jobs.submit("digits", {"x": X})
    assert [event.event for event in client.jobs.watch(job)] == [1, 2]
    assert client.jobs.wait(job).state is JobState.SUCCEEDED
    assert [found.id for found in client.jobs.list()] == [job.id]
    seen: list[int] = []
    batches = client.map("digits", {"x": X}, batch_rows=3, progress=lambda job: seen.append(job.progress.done_rows))
    np.testing.assert_array_equal(np.concatenate([batch["y"] for batch in batches]), y)
    assert seen == [0, 5]
    call = client.submit("digits", {"x": X})
    np.testing.assert_array_equal(call.result(timeout_s=20)["y"], y)
    assert client.handle(call.id).done()


def test_an_interrupted_map_cancels_its_job(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"not looked into")
    client.push("digits", path)
    fakes.jobs.tell("SNAPSHOT", "RUNNING", rows=5)
    fakes.jobs.silent = True
    program = (
        "from modelyard import Client\n"
        f"with Client({fakes.address!r}) as client:\n"
        "    list(client.map('digits', {'x': [1.0]}))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: fakes.jobs.calls["WatchJob"])
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert fakes.jobs.jobs["job-1"].state == pb.Job.CANCELLING


def test_push_deploy_infer(fakes: FakeSuite, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"not looked into")
    progress: list[Progress] = []
    assert client.push("digits", path, progress=progress.append).version == "1"
    assert progress[-1].done_bytes == len(b"not looked into")
    assert client.deploy("digits").ready
    np.testing.assert_array_equal(client.infer("digits", {"x": X})["x"], X)
    assert [part.worker for part in client.logs("digits")] == ["worker-0", "worker-1"]
    assert client.pull("digits@1", tmp_path / "copy").version == "1"


def test_errors_are_typed_and_unavailable_is_tried_again(fakes: FakeSuite, client: Client) -> None:
    with pytest.raises(NotFoundError):
        client.model("absent")
    fakes.inference.failures["ModelInfer"] = [UnavailableError("loading", retry_after_s=0.01)]
    client.infer("digits", {"x": X})
    assert fakes.inference.calls["ModelInfer"] == 2


def test_several_threads_share_a_client(client: Client) -> None:
    def infer(number: int) -> float:
        return float(client.infer("digits", {"x": X + number})["x"].sum())

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(infer, range(64))) == [2.0 * n for n in range(64)]


def test_logs_may_be_left_early(client: Client) -> None:
    parts = client.logs("digits")
    assert next(parts).worker == "worker-0"
    del parts
    assert client.live()


def test_logs_may_outlive_the_client(fakes: FakeSuite) -> None:
    with Client(fakes.address) as client:
        parts = client.logs("digits")
        next(parts)
    parts.close()  # type: ignore[attr-defined]


def test_a_closed_client_says_so(fakes: FakeSuite) -> None:
    client = Client(fakes.address)
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.models()


def test_closing_ends_calls_in_flight_and_the_thread(fakes: FakeSuite) -> None:
    fakes.inference.hold = asyncio.Event()
    client = Client(fakes.address)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(client.infer, "digits", {"x": X})
        wait_until(lambda: fakes.inference.calls["ModelInfer"])
        client.close()
        with pytest.raises(CancelledError, match="the client was closed"):
            call.result()
    assert "modelyard-client" not in {thread.name for thread in threading.enumerate()}


def test_a_client_that_is_not_closed_does_not_hold_the_program(fakes: FakeSuite) -> None:
    program = f"from modelyard import Client; print(Client({fakes.address!r}).live())"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "True\n", "")


def test_importing_the_package_loads_nothing_else() -> None:
    program = (
        "import sys, modelyard.errors; print('grpc' in sys.modules, 'numpy' in sys.modules);"
        "modelyard.Client; print(*({'typer', 'rich', 'aetcd', 'redis', 'msgspec', 'onnx'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == "False False\n\n"


def test_the_package_has_nothing_else() -> None:
    assert modelyard.Client is Client
    with pytest.raises(AttributeError, match="no attribute 'Server'"):
        _ = modelyard.Server
