"""Triton: the server of the wheel nvidia-pytriton, its Python backend on ONNX Runtime, dynamic batching on.

It has been seen to die of SIGSEGV in TRITONSERVER_InferenceRequestDelete under perf_analyzer's streams: then it is
started again, and that measurement is void.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.peers.install import ROOT, triton_libraries, triton_package
from bench.peers.served import Model
from bench.peers.target import Server, Target, free_port

MODEL_PY = Path(__file__).parent / "triton_model.py"
CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: {max_batch_size}
input [{{ name: "{input}" data_type: TYPE_FP32 dims: {dims} }}]
output [{{ name: "{output}" data_type: TYPE_FP32 dims: {output_dims} }}]
instance_group [{{ kind: KIND_CPU count: 1 }}]
parameters {{ key: "threads" value {{ string_value: "{threads}" }} }}
{batching}
"""


@contextlib.contextmanager
def triton(models: Sequence[Model], scratch: Path) -> Iterator[Target]:
    """Run it on the models."""
    for model in models:
        _write(model, scratch / "models")
    port, log = free_port(), scratch / "triton.log"
    command = [triton_package() / "bin" / "tritonserver", "--model-repository", scratch / "models"]
    command += ["--backend-directory", ROOT / "triton" / "backends", "--grpc-address", "127.0.0.1"]
    command += ["--grpc-port", port, "--allow-http", "false", "--allow-metrics", "false"]
    server = Server(command, _environ(), log)
    try:
        address = f"127.0.0.1:{port}"
        server.start(address, [model.name for model in models])
        yield Target("triton", address, server.pids, revive=server.revive)
    finally:
        server.stop()


def _environ() -> dict[str, str]:
    """The stub embeds the `python3` that it finds on PATH, isolated: so the environment's own comes first."""
    libraries = f"{sysconfig.get_config_var('LIBDIR')}:{triton_libraries()}"
    path = f"{ROOT / 'triton' / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "LD_LIBRARY_PATH": libraries}


def _write(model: Model, repository: Path) -> None:
    directory = repository / model.name / "1"
    directory.mkdir(parents=True)
    shutil.copy(MODEL_PY, directory / "model.py")
    (directory / "model.onnx").write_bytes(model.onnx)
    batched = model.max_batch_size > 0
    text = CONFIG.format(
        name=model.name,
        max_batch_size=model.max_batch_size,
        input=model.input,
        dims=list(model.shape[batched:]),
        output=model.output,
        output_dims=list(model.output_shape[batched:]),
        threads=model.threads,
        batching="dynamic_batching { }" if batched else "",
    )
    (directory.parent / "config.pbtxt").write_text(text)
