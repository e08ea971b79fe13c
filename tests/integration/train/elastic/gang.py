"""A job of tests: its control process, its ranks, and what they have written down."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch

from modelyard import codec
from modelyard.train.control.messages import Stop
from tests.integration.train.elastic.rank import SECRET, Plan
from tests.waiting import eventually, wait_until

Event = dict[str, Any]
START_S = 120.0
"""Of what imports torch, on a machine that has other things to do."""
SETTLE_S = 60.0
"""For a group that is to be complete at first: nobody forms without one who is slow to come."""


class Nursery:
    """The process whose children the ranks are."""

    def __init__(self, log: Path) -> None:
        with log.open("ab") as errors:
            command = [sys.executable, "-m", "tests.integration.train.elastic.nursery"]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True)
        self.errors = log

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, self.errors.read_text()
        return line

    def wait_ready(self) -> None:
        assert self._line() == "ready"

    def fork(self, plan: Plan) -> int:
        """Start a rank; return its pid."""
        assert self._process.stdin is not None
        print(json.dumps(dataclasses.asdict(plan)), file=self._process.stdin, flush=True)
        return int(self._line())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


class Control:
    """A control process."""

    def __init__(self, directory: Path, etcd: str, **limits: Any) -> None:
        self._directory = directory
        self._given = {"job": "job", "secret": SECRET, "etcd": etcd, "lease-s": 2, **limits}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, name: str) -> str:
        """Start it; return its address."""
        options = {option.replace("_", "-"): value for option, value in {"id": name, **self._given}.items()}
        read, write = os.pipe()
        environ = {**os.environ, "MODELYARD_PARENT_PID": str(os.getpid()), "MODELYARD_REPORT_FD": str(write)}
        with (self._directory / f"{name}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "modelyard.train.control"),
                *(f"--{option}={value}" for option, value in options.items()),
                env=environ,
                pass_fds=(write,),
                stdin=subprocess.PIPE,
                stderr=log,
            )
        os.close(write)
        reports = os.fdopen(read)
        address = await asyncio.wait_for(asyncio.to_thread(_address, reports), START_S)
        self._read = asyncio.ensure_future(asyncio.to_thread(_exhaust, reports))  # it must not block on a full pipe
        return address

    async def order(self, line: bytes) -> None:
        """Write a line to its standard input."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        await self._process.stdin.drain()

    async def kill(self) -> None:
        """SIGKILL, if it is still there."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._read


class Gang:
    """One job."""

    def __init__(self, nursery: Nursery, directory: Path, etcd: str, **limits: float) -> None:
        self.directory = directory
        self._nursery = nursery
        self._control = Control(directory, etcd, **limits)
        self._controls = 0
        self.pids: dict[str, int] = {}

    async def start_control(self) -> None:
        """Start the control process, and let the ranks know where it is."""
        address = await self._control.start(f"control-{self._controls}")
        self._controls += 1
        (self.directory / "control.new").write_text(address)
        (self.directory / "control.new").rename(self.directory / "control")

    async def kill_control(self) -> None:
        await self._control.kill()

    async def stop(self, reason: str) -> None:
        """End the job, with a checkpoint."""
        await self._control.order(codec.encode(Stop(reason)))

    def log(self) -> str:
        """Of the first control process."""
        return (self.directory / "control-0.log").read_text()

    def start(self, name: str, **plan: Any) -> None:
        """Start a rank."""
        self.pids[name] = self._nursery.fork(Plan(name, str(self.directory), **plan))

    def signal(self, name: str, number: int) -> None:
        os.kill(self.pids[name], number)

    def open_gate(self, step: int) -> None:
        (self.directory / f"gate-{step}").touch()

    def events(self, name: str) -> list[Event]:
        """What a rank has written down."""
        path = self.directory / f"{name}.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def found(self, name: str, key: str) -> list[Event]:
        return [event for event in self.events(name) if key in event]

    async def reaches(self, name: str, key: str, least: int = 0) -> None:
        """Wait until a rank has written something of at least that value."""
        await eventually(lambda: any(event[key] >= least for event in self.found(name, key)), START_S)

    async def ends(self, *names: str) -> None:
        """Wait until ranks are at their end; all of them in the same state. What was written is complete then."""
        for name in names:
            await eventually(partial(self._over, name), START_S)
            assert self.found(name, "ending"), (name, self.events(name)[-3:], self._nursery.errors.read_text()[-3000:])

    def _over(self, name: str) -> bool:
        return bool(self.found(name, "ending")) or self._gone(name)

    def _gone(self, name: str) -> bool:
        return not Path(f"/proc/{self.pids[name]}").exists()

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = torch.load(self.directory / f"{name}.pt")
        return found

    def counted(self) -> dict[int, list[int]]:
        """The samples of each committed step, of all ranks: of the last formation that did it."""
        formations: dict[int, int] = {}
        fetched: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for name in self.pids:
            for event in self.found(name, "fetched"):
                fetched[event["step"] + 1, event["formation"]] += event["fetched"]
            for event in self.found(name, "done"):
                formations[event["done"]] = max(formations.get(event["done"], 0), event["formation"])
        return {step: sorted(fetched[step, formation]) for step, formation in sorted(formations.items())}

    async def close(self) -> None:
        for name, pid in self.pids.items():
            if not self._gone(name):
                os.kill(pid, signal.SIGKILL)
        for name in self.pids:
            wait_until(partial(self._gone, name))
        await self._control.kill()


def _exhaust(reports: IO[str]) -> None:
    with reports:
        for _ in reports:
            pass


def _address(reports: IO[str]) -> str:
    for line in reports:
        if (fact := json.loads(line)).get("state") == "ready":
            return str(fact["address"])
    raise AssertionError("the control process ended before it was ready")
