"""Push and pull of 1 GiB of random weights, beside `cp` and `sha256sum` of the same file in the same run, in turns.

The times of a push and a pull are those of the SDK's calls in a process of its own, all of it counted: hashing, the
question for what is missing, the bytes, the inspection, publishing. Nothing is copied through a cold cache, and what
one turn leaves to be written to the disk is written before the next.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import onnx
import psutil
from onnx import TensorProto, helper

from bench.processes import machine
from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.local.commands import UpOptions, down, status, up
from tests import models

MIB = 1 << 20
WEIGHTS = "weights.bin"


def write_model(directory: Path, size_bytes: int) -> None:
    """An ONNX model that looks rows up in a table of random bytes, which are in a file of their own."""
    directory.mkdir()
    table = TensorProto(name="table", data_type=TensorProto.UINT8, dims=[size_bytes // 1024, 1024])
    table.data_location = TensorProto.EXTERNAL
    table.external_data.add(key="location", value=WEIGHTS)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "i"], ["y"])],
        "lookup",
        [models.tensor("i", "INT64", [-1])],
        [models.tensor("y", "UINT8", [-1, 1024])],
        [table],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", models.OPSET)], ir_version=models.IR_VERSION
    )
    onnx.save_model(model, str(directory / "model.onnx"))
    with (directory / WEIGHTS).open("wb") as out:
        for _ in range(size_bytes // MIB):
            out.write(os.urandom(MIB))


def renew(directory: Path) -> None:
    """Change every chunk of the weights, so that the next push sends them all."""
    with (directory / WEIGHTS).open("r+b") as out:
        for start in range(0, (directory / WEIGHTS).stat().st_size, CHUNK_SIZE_BYTES):
            out.seek(start)
            out.write(os.urandom(16))


class Process:
    """A server, watched from outside."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def cpu_s(self) -> float:
        """CPU seconds so far, with those of children that have ended: inspections."""
        times = psutil.Process(self._pid).cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    def forget_peak(self) -> None:
        """Let the peak of its memory start from what it holds now."""
        Path(f"/proc/{self._pid}/clear_refs").write_text("5")

    def peak_mib(self) -> float:
        """The most memory that was resident (VmHWM)."""
        return self._status_mib("VmHWM")

    def resident_mib(self) -> float:
        """The memory that is resident now."""
        return self._status_mib("VmRSS")

    def _status_mib(self, field: str) -> float:
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        kib = next(line.split()[1] for line in lines if line.startswith(field))
        return round(int(kib) / 1024, 1)


class Bench:
    """A running suite, a model on the same disk, and what is done with them in turns."""

    def __init__(self, directory: Path, address: str, servers: dict[str, Process]) -> None:
        self._directory = directory
        self._address = address
        self._servers = servers

    def copy_and_hash(self) -> dict[str, Any]:
        """The yardstick: `cp` and `sha256sum`, one after the other."""
        source, target = self._directory / "model" / WEIGHTS, self._directory / "copy"
        os.sync()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start_s = time.perf_counter()
        subprocess.run(["cp", source, target], check=True)
        copied_s = time.perf_counter()
        subprocess.run(["sha256sum", source], check=True, stdout=subprocess.DEVNULL)
        end_s = time.perf_counter()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        target.unlink()
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"s": end_s - start_s, "cp_s": copied_s - start_s, "cpu_s": cpu_s}

    def move(self, verb: str, directory: Path, way: str, *options: str) -> dict[str, Any]:
        """Push or pull in a process of its own; return what it reports, and what it cost the servers."""
        os.sync()
        for server in self._servers.values():
            server.forget_peak()
        before = {name: server.cpu_s() for name, server in self._servers.items()}
        command = [sys.executable, "-m", "bench.move", verb, str(directory)]
        command += ["--address", self._address, "--way", way, *options]
        report: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        for name, server in self._servers.items():
            report[f"{name}_cpu_s"] = round(server.cpu_s() - before[name], 2)
            report[f"{name}_peak_mib"] = server.peak_mib()
        return report

    def turn(self, way: str) -> dict[str, dict[str, Any]]:
        """Each of them once, in between them the yardstick."""
        model, target = self._directory / "model", self._directory / "pulled"
        renew(model)
        found = {"cp_and_sha256sum": self.copy_and_hash(), "push": self.move("push", model, way)}
        found["push_again"] = self.move("push", model, way)
        found["cp_and_sha256sum_2"] = self.copy_and_hash()
        found["pull"] = self.move("pull", target, way)
        shutil.rmtree(target)
        return found

    def streams(self, streams: int, chunks: int) -> dict[str, Any]:
        """Raw uploads, then downloads, many at a time; every chunk is another one."""
        options = (f"--streams={streams}", f"--chunks={chunks}")
        return {"streams": streams} | self.move("streams", Path(), "direct", *options)


def median(turns: list[dict[str, dict[str, Any]]], step: str) -> dict[str, Any]:
    """The median of every figure of a step; of peaks the greatest."""
    rows = [turn[step] for turn in turns]
    return {
        key: max(row[key] for row in rows) if "peak" in key else round(statistics.median(row[key] for row in rows), 2)
        for key in rows[0]
    }


def row(way: str, turns: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """The summary of one way."""
    yardstick_s = statistics.median(turn[step]["s"] for turn in turns for step in turn if step.startswith("cp"))
    steps = {step: median(turns, step) for step in ("cp_and_sha256sum", "push", "push_again", "pull")}
    ratios = {step: round(yardstick_s / steps[step]["s"], 2) for step in ("push", "pull")}
    return {"way": way, "speed_to_cp_and_sha256sum": ratios, **steps}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mib", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--streams", type=int, nargs="*", default=[4, 16, 64])
    parser.add_argument("--stream-chunks", type=int, default=8)
    parser.add_argument("--directory", type=Path, help="where everything is put; by default where temporary files go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as scratch:
        directory = Path(scratch)
        write_model(directory / "model", options.size_mib * MIB)
        with contextlib.redirect_stdout(sys.stderr):
            up(UpOptions(directory / "state", workers=0, port=0, detach=True))
        try:
            suite = status(directory / "state")
            front_door = psutil.Process(suite.process("scheduler-0").pid).children()[0]
            servers = {"registry": Process(suite.process("registry-0").pid), "front_door": Process(front_door.pid)}
            bench = Bench(directory, suite.address, servers)
            idle_mib = servers["registry"].peak_mib()
            ways = {way: [bench.turn(way) for _ in range(options.turns)] for way in ("direct", "front door")}
            streams = [bench.streams(streams, options.stream_chunks) for streams in options.streams]
        finally:
            with contextlib.redirect_stdout(sys.stderr):
                down(directory / "state")
    report = {
        "machine": machine(),
        "size_mib": options.size_mib,
        "rows": [row(way, turns) for way, turns in ways.items()],
        "registry_idle_mib": idle_mib,
        "streams": streams,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
