"""perf_analyzer of Triton's client, for servers that have ModelConfig and ModelStatistics."""

from __future__ import annotations

import asyncio
import csv
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import grpc.aio

from bench.peers.install import ROOT
from modelyard.oip import messages
from modelyard.rpc.channel import Stub, open_channel

GRACE_S = 10.0
"""How much longer than asked for it may take; it hangs where the server dies."""
LEAST_WINDOW_MS = 1000
"""A window in which nothing was answered is an error."""
WINDOWS = 3
"""perf_analyzer wants three windows at least; it is told that any three are stable."""


def drive(address: str, name: str, concurrency: int, seconds: float, *, stream: bool) -> dict[str, Any]:
    """Drive a server; return rate and latencies, and all requests that the server says it answered.

    Raises:
        RuntimeError: perf_analyzer failed, or the server does not tell its statistics; what it says.
    """
    before = served(address, name)
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch) / "report.csv"
        command = [ROOT / "load" / "bin" / "perf_analyzer", "-m", name, "-u", address, "-i", "grpc", "-f", table]
        window_ms = max(LEAST_WINDOW_MS, int(seconds / WINDOWS * 1e3))
        command += ["--concurrency-range", concurrency, "--measurement-interval", window_ms]
        command += ["--stability-percentage", 999, "--max-trials", WINDOWS, *(["--streaming"] if stream else [])]
        environ = {**os.environ, "LD_LIBRARY_PATH": str(ROOT / "load" / "libraries")}
        try:
            done = run([str(c) for c in command], environ, seconds * 2 + GRACE_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError("perf_analyzer: it does not end") from None
        if done.returncode or not table.exists():
            raise RuntimeError(f"perf_analyzer: {(done.stdout + done.stderr).strip()[-500:]}")
        (row,) = csv.DictReader(table.open())
    return {
        "requests": served(address, name) - before,
        "requests_per_s": float(row["Inferences/Second"]),
        "p50_us": int(row["p50 latency"]),
        "p99_us": int(row["p99 latency"]),
    }


def run(command: list[str], environ: dict[str, str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run it to its end; raise subprocess.TimeoutExpired if that does not come."""
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=timeout_s)


def served(address: str, name: str) -> int:
    """How many requests of a model the server says it has answered so far."""
    return asyncio.run(_served(address, name))


async def _served(address: str, name: str) -> int:
    async with open_channel(address) as channel:
        request = messages.ModelStatisticsRequest(name=name)
        try:
            answer = await Stub(channel, messages.SERVICE).ModelStatistics(request)
        except grpc.aio.AioRpcError as error:
            raise RuntimeError(f"ModelStatistics: {error.code().name}: {error.details()}") from None
    return sum(model.inference_stats.success.count for model in answer.model_stats)
