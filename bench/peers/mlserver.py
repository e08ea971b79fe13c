"""MLServer: a custom runtime on ONNX Runtime, in one process.

Its batching waits for a fixed time, whether the model is idle or not, so a batched model is served under two names:
with that and without. Each comparison takes the better.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.peers.install import ROOT
from bench.peers.served import Model
from bench.peers.target import Server, Target, free_port

RUNTIME = Path(__file__).parent / "mlserver_runtime.py"
BATCHING = "_batching"
MAX_BATCH_S = 0.0005


@contextlib.contextmanager
def mlserver(models: Sequence[Model], scratch: Path) -> Iterator[list[Target]]:
    """Run it on the models; the first target is without its batching, the second with."""
    scratch.mkdir()
    shutil.copy(RUNTIME, scratch)
    names = [name for model in models for name in _write(model, scratch)]
    port, log = free_port(), scratch / "mlserver.log"
    settings = {"host": "127.0.0.1", "grpc_port": port, "http_port": free_port(), "metrics_port": free_port()}
    (scratch / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 0, "debug": False}))
    command = [ROOT / "mlserver" / "bin" / "mlserver", "start", scratch]
    server = Server(command, {**os.environ, "PYTHONPATH": str(scratch)}, log)
    try:
        address = f"127.0.0.1:{port}"
        server.start(address, names)
        plain = Target("mlserver", address, server.pids, revive=server.revive)
        batching = {model.name: model.name + BATCHING for model in models}
        yield [plain, dataclasses.replace(plain, name="mlserver, batching", names=batching)]
    finally:
        server.stop()


def _write(model: Model, scratch: Path) -> list[str]:
    names = {model.name: 0}
    if model.max_batch_size:
        names[model.name + BATCHING] = model.max_batch_size
    for name, rows in names.items():
        directory = scratch / name
        directory.mkdir()
        (directory / "model.onnx").write_bytes(model.onnx)
        settings = {
            "name": name,
            "implementation": f"{RUNTIME.stem}.OnnxModel",
            "max_batch_size": rows,
            "max_batch_time": MAX_BATCH_S if rows else 0,
            "inputs": [{"name": model.input, "datatype": "FP32", "shape": model.shape}],
            "outputs": [{"name": model.output, "datatype": "FP32", "shape": model.output_shape}],
            "parameters": {"uri": str(directory / "model.onnx"), "extra": {"threads": model.threads}},
        }
        (directory / "model-settings.json").write_text(json.dumps(settings))
    return list(names)
