"""`modelyard up`, `down` and `status`: real suites, killed, suspended, started twice, and what is left of them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from modelyard import Client
from modelyard.cli.app import app
from modelyard.local import kernel
from modelyard.local.state import State, Status
from tests.models import mlp, save
from tests.suites import RunningSuite
from tests.waiting import wait_until

NAMES = ["etcd", "redis", "registry-0", "scheduler-0", "worker-0"]
ROW = np.linspace(0, 1, 64, dtype=np.float32)[None]


def ask(*arguments: str) -> Result:
    """Run the CLI to its end, without a process for it."""
    return CliRunner().invoke(app, arguments)


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the CLI to its end, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "modelyard", *arguments],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def writers(directory: Path) -> list[int]:
    """The pids of all processes whose standard output is a file below the directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            output = os.readlink(entry / "fd/1") if entry.name.isdigit() else ""
        except OSError:  # gone, or not ours
            continue
        if output.startswith(f"{directory.resolve()}/"):
            found.append(int(entry.name))
    return found


def well(suite: RunningSuite) -> Status:
    """The suite's status, once every process answers in time."""

    def found() -> Status | None:
        status = suite.status()
        return status if all(process.state is State.READY for process in status.processes) else None

    status = wait_until(found)
    assert status is not None
    return status


def gone(processes: list[kernel.Process]) -> bool:
    return not any(process.lives for process in processes)


def serve(suite: RunningSuite, directory: Path) -> np.typing.NDArray[np.float32]:
    """Deploy a model, so that there is a runner; return its answer."""
    with Client(suite.address) as client:
        client.push("mlp", save(mlp(), directory / "mlp.onnx"))
        client.deploy("mlp")
        return client.infer("mlp", {"x": ROW})["y"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    """A suite for the tests that leave it running."""
    one = RunningSuite(tmp_path_factory.mktemp("shared"))
    yield one
    one.down()


def test_status_lists_every_process_with_its_pid_address_and_state(shared: RunningSuite) -> None:
    status = well(shared)
    assert status.running
    assert (status.pid, status.address) == (shared.up_pid, shared.address)
    assert [p.name for p in status.processes] == NAMES
    assert status.process("scheduler-0").address == shared.address
    for process in status.processes:
        assert (process.state, process.restarts, process.reason) == (State.READY, 0, "")
        assert process.process in shared.tree()
        assert re.fullmatch(r"127\.0\.0\.1:\d+", process.address)


def test_status_as_json_is_what_scripts_read(shared: RunningSuite) -> None:
    done = ask("status", "--dir", str(shared.directory), "--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert (said["running"], said["address"]) == (True, shared.address)
    assert [p["name"] for p in said["processes"]] == NAMES
    assert {"name", "pid", "address", "state", "restarts", "reason"} <= set(said["processes"][0])


def test_everything_listens_on_loopback_alone(shared: RunningSuite) -> None:
    inodes = set()
    for process in shared.tree():
        for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
            target = os.readlink(descriptor)
            inodes.add(target[8:-1] if target.startswith("socket:[") else "")
    listening = [
        fields[1].partition(":")[0]
        for table in ("tcp", "tcp6")
        for fields in (line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[9] in inodes
    ]
    assert len(listening) >= len(NAMES)
    assert set(listening) <= {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


def test_a_second_up_in_the_directory_says_so_and_harms_nothing(shared: RunningSuite) -> None:
    before = well(shared)
    for more in ([], ["--detach"]):
        second = run("up", "--dir", str(shared.directory), "--port", "0", *more)
        assert second.returncode != 0
        assert second.stdout == ""
        (line,) = second.stderr.splitlines()
        assert str(shared.directory) in line
        assert f"pid {shared.up_pid}" in line
        assert shared.address in line
    assert well(shared) == before


def test_a_front_door_port_in_use_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for more in ([], ["--detach"]):
            done = run("up", "--dir", str(tmp_path), "--port", str(port), *more)
            assert done.returncode != 0
            (line,) = done.stderr.splitlines()
            assert f"127.0.0.1:{port}" in line
            assert "in use" in line
    assert writers(tmp_path) == []
    assert not json.loads(ask("status", "--dir", str(tmp_path), "--json").stdout)["running"]


def test_the_front_door_of_another_suite_is_in_use(shared: RunningSuite, tmp_path: Path) -> None:
    port = shared.address.rpartition(":")[2]
    done = run("up", "--dir", str(tmp_path), "--port", port)
    assert done.returncode != 0
    assert "in use" in done.stderr


@pytest.mark.parametrize("name", ["worker-0", "scheduler-0", "registry-0", "redis", "etcd"])
def test_a_killed_process_comes_back_and_says_why(shared: RunningSuite, name: str, tmp_path: Path) -> None:
    before = shared.process(name)
    os.kill(before.pid, signal.SIGKILL)
    wait_until(lambda: shared.ready(name, after=before.pid))
    after = well(shared).process(name)
    assert (after.restarts, after.reason) == (before.restarts + 1, "killed by SIGKILL")
    assert after.pid != before.pid
    if name in {"etcd", "redis", "scheduler-0"}:
        assert after.address == before.address
    assert serve(shared, tmp_path).shape == (1, 10)


def test_a_suspended_process_is_unresponsive_and_nobody_ends_it(shared: RunningSuite) -> None:
    pid = shared.signal("redis", signal.SIGSTOP)
    try:
        wait_until(lambda: shared.status().process("redis").state is State.UNRESPONSIVE)
        assert shared.status().process("redis").reason == "stopped by a signal"
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: shared.status().process("redis").state is State.READY)
    assert shared.pid("redis") == pid


def test_up_prints_one_line_passes_its_options_on_and_stops_in_order(suite: Callable[..., RunningSuite]) -> None:
    one = suite(workers=2, capacity="cpu=3,memory=5GiB", processes=2, lease_s=7)
    family = one.tree()
    for name in ("registry-0", "scheduler-0", "worker-0", "worker-1"):
        assert "--lease-s=7" in Path(f"/proc/{one.pid(name)}/cmdline").read_text().split("\0")
    with Client(one.address) as client:
        assert {(worker.cpu, worker.memory_bytes) for worker in client.workers()} == {(3, 5 << 30)}
    assert len(kernel.tree(one.pid("scheduler-0"))) > 2
    one.down()
    assert one.wait() == 0
    where = re.escape(str(one.directory))
    assert re.fullmatch(rf"modelyard ready on {one.address} \(2 workers, state in {where}, \d+\.\d s\)\n", one.output)
    assert gone(family)
    assert writers(one.directory) == []
    log = [json.loads(line) for line in (one.directory / "logs/up.log").read_text().splitlines()]
    stopped = [entry["role"] for entry in log if entry["event"] == "stopped"]
    assert stopped == ["scheduler", "worker", "registry", "redis", "etcd"]
    assert "process ended" not in {entry["event"] for entry in log}


def test_ctrl_c_reaches_up_alone_and_stops_everything(suite: Callable[..., RunningSuite]) -> None:
    one = suite()
    family = one.tree()
    children = [process.pid for process in one.tree() if process.pid != one.up_pid]
    assert all(os.getpgid(pid) != os.getpgid(one.up_pid) for pid in children)
    os.kill(one.up_pid, signal.SIGINT)
    assert one.wait() == 0
    assert gone(family)
    assert not one.status().running
    assert one.status().processes == ()


def test_a_second_signal_exits_at_once_and_leaves_no_orphan(suite: Callable[..., RunningSuite], tmp_path: Path) -> None:
    one = suite()
    serve(one, tmp_path)
    family = one.tree()
    os.kill(one.up_pid, signal.SIGTERM)
    os.kill(one.up_pid, signal.SIGINT)
    assert one.wait() == -signal.SIGKILL
    wait_until(lambda: gone(family))


def test_a_killed_up_leaves_no_orphan_and_the_next_one_has_everything_or_down_cleans_up(
    suite: Callable[..., RunningSuite], tmp_path: Path
) -> None:
    one = suite()
    answer = serve(one, tmp_path)
    family = one.tree()
    assert len(family) > 1 + len(NAMES)  # a runner, at least
    os.kill(one.up_pid, signal.SIGKILL)
    assert one.wait() == -signal.SIGKILL
    wait_until(lambda: gone(family))
    wait_until(lambda: writers(one.directory) == [])
    status = one.status()
    assert not status.running
    assert [(p.name, p.state) for p in status.processes] == [(name, State.DEAD) for name in NAMES]
    one.up()
    with Client(one.address) as client:
        np.testing.assert_array_equal(client.infer("mlp", {"x": ROW})["y"], answer)
    assert [p.name for p in well(one).processes] == NAMES
    os.kill(one.up_pid, signal.SIGKILL)
    one.wait()
    done = ask("down", "--dir", str(one.directory))
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"modelyard does not run in {one.directory}\n", "")
    assert writers(one.directory) == []
    assert one.status().processes == ()


@pytest.mark.parametrize("victims", [("worker-0", "etcd"), ("up",)])
def test_down_ends_suspended_processes_too(suite: Callable[..., RunningSuite], victims: tuple[str, ...]) -> None:
    one = suite()
    family = one.tree()
    for victim in victims:
        os.kill(one.up_pid if victim == "up" else one.pid(victim), signal.SIGSTOP)
    done = run("down", "--dir", str(one.directory))
    assert (done.returncode, done.stdout) == (0, f"modelyard stopped in {one.directory}\n")
    assert gone(family)
    assert not one.status().running
    assert one.wait() == 0


def test_down_where_nothing_runs_is_a_line_and_no_error(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "never"):
        done = ask("down", "--dir", str(directory))
        assert (done.exit_code, done.stdout) == (0, f"modelyard does not run in {directory}\n")


def test_detached_it_returns_when_ready_and_lives_on(tmp_path: Path) -> None:
    """Variables that are meant for the CLI, or for nobody, do not disturb the services."""
    done = run("up", "--dir", str(tmp_path), "--port", "0", "--detach", MODELYARD_OTHER="1")
    try:
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(r"modelyard ready on 127\.0\.0\.1:\d+ \(1 worker, state in .*\)\n", done.stdout)
        status = json.loads(ask("status", "--dir", str(tmp_path), "--json").stdout)
        assert status["running"]
        assert f"on {status['address']} " in done.stdout
        assert os.getsid(status["pid"]) == status["pid"]
        family = kernel.tree(status["pid"])
    finally:
        assert ask("down", "--dir", str(tmp_path)).exit_code == 0
    assert gone(family)


@pytest.mark.parametrize("more", [[], pytest.param(["--detach"], marks=pytest.mark.chaos)])
def test_a_service_that_does_not_start_is_named_and_nothing_is_left(tmp_path: Path, more: list[str]) -> None:
    done = run("up", "--dir", str(tmp_path), "--port", "0", "--capacity", "cores=many", *more)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "worker-0 does not start: exit status " in line
    assert "worker-0.log" in line
    assert "cores" in line
    wait_until(lambda: writers(tmp_path) == [])
    assert not json.loads(ask("status", "--dir", str(tmp_path), "--json").stdout)["running"]


def test_of_two_started_together_in_one_directory_one_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "modelyard", "up", "--dir", str(tmp_path), "--port", "0", "--detach"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    try:
        assert sorted(process.returncode == 0 for process in both) == [False, True]
        assert ["already runs" in stderr for _, stderr in said].count(True) == 1
    finally:
        assert ask("down", "--dir", str(tmp_path)).exit_code == 0
    assert writers(tmp_path) == []


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--workers", "-1"), ("--workers", "257"), ("--port", "65536"), ("--processes", "0"), ("--lease-s", "1")],
)
def test_a_number_out_of_range_is_refused(flag: str, value: str, tmp_path: Path) -> None:
    done = ask("up", "--dir", str(tmp_path / "d"), flag, value)
    assert done.exit_code != 0
    assert flag.strip("-") in done.stderr
    assert not (tmp_path / "d").exists()


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("up", "--dir", str(tmp_path / "file"), "--port", "0")
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert f"cannot keep state in {tmp_path / 'file'}" in line
