"""The cost of a call: CPU time of all server processes a request, and latency, beside the floor of a unary call.

One 64-128-128-10 ONNX model, batch 1, one worker, one front door; the floor is a grpc.aio server that answers with a
constant. Both are measured in the same run, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.processes import cpu_s, machine
from modelyard import Client
from modelyard.local.commands import UpOptions, down, status, up
from modelyard.oip.tensors import encode_request
from tests import models


def measure(address: str, pids: list[int], payload: bytes, concurrency: int, seconds: float) -> dict[str, Any]:
    """Drive a server; return the load generator's report and the servers' CPU time a request, in µs."""
    before_s = cpu_s(pids)
    command = [sys.executable, "-m", "bench.load", "--address", address]
    command += ["--concurrency", str(concurrency), "--seconds", str(seconds)]
    report = json.loads(subprocess.run(command, input=payload, stdout=subprocess.PIPE, check=True).stdout)
    report["server_cpu_us"] = round((cpu_s(pids) - before_s) / report["requests"] * 1e6)
    return report  # type: ignore[no-any-return]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64])
    options = parser.parse_args()
    payload = encode_request("mlp", "", {"x": np.zeros((1, 64), np.float32)}).SerializeToString()
    results: dict[str, Any] = {"machine": machine(), "rows": []}
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        directory = Path(scratch) / "state"
        model = Path(scratch) / "mlp.onnx"
        model.write_bytes(models.mlp().SerializeToString())
        up(UpOptions(directory, workers=1, port=0, detach=True))
        echo = subprocess.Popen([sys.executable, "-m", "bench.echo"], stdout=subprocess.PIPE, text=True)
        try:
            assert echo.stdout is not None
            floor = f"127.0.0.1:{echo.stdout.readline().strip()}"
            suite = status(directory)
            with Client(suite.address) as client:
                client.push("mlp", model)
                client.deploy("mlp")
            pids = [p.pid for p in suite.processes if p.name.startswith(("scheduler", "worker"))]
            for concurrency in options.concurrency:
                row = {
                    "concurrency": concurrency,
                    "echo": measure(floor, [echo.pid], payload, concurrency, options.seconds),
                    "modelyard": measure(suite.address, pids, payload, concurrency, options.seconds),
                }
                row["cpu_ratio"] = round(row["modelyard"]["server_cpu_us"] / row["echo"]["server_cpu_us"], 2)
                results["rows"].append(row)
        finally:
            echo.kill()
            down(directory)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
