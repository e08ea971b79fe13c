"""What executes models: one small interface, one module for each engine."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelyard.catalogue import Signature
from modelyard.deployment import InstanceOptions
from modelyard.errors import InvalidInputError
from modelyard.oip.tensors import Array
from modelyard.preprocessing import files
from modelyard_worker.runtimes.delay import DelayRuntime, is_delayed

if TYPE_CHECKING:
    from modelyard_worker.runtimes.onnx import OnnxRuntime

FORMATS = ("onnx", "torch_export")
"""The formats of artifacts that an engine executes."""


class Runtime(Protocol):
    """A loaded model. Called from one thread at a time.

    Attributes:
        platform: the engine, by a name as Triton gives them.
        signature: what it takes and returns, as the registry reads it from the artifact.
        labels: of the classes, by their index; empty where the artifact names none.
    """

    platform: str
    signature: Signature
    labels: tuple[str, ...]

    def run(self, inputs: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Execute on inputs that match the signature; return the outputs named.

        BYTES are arrays of `bytes` that come back as `str`, BF16 arrays of uint16 bits.

        Raises:
            InvalidInputError: BYTES that are not UTF-8, where the engine knows only text; a shape that the signature
                allows and the model's own conditions do not.
            ModelExecutionError: the model failed.
        """
        ...

    def close(self) -> None:
        """Give the model's memory back; it is not run again."""
        ...


def load(format_name: str, directory: Path, options: InstanceOptions, cores: int, *, test_runtime: str = "") -> Runtime:
    """Load one copy of an artifact; a copy holds weights of its own.

    Args:
        format_name: of FORMATS.
        directory: the artifact's files.
        options: threads (0: as many as there are cores), device ("cuda" or "cuda:1"; empty: the CPU, the agent says
            "cuda" where the version needs a GPU) and precision are of interest here.
        cores: how many the worker has.
        test_runtime: "delay": what modelyard_worker.runtimes.delay reads in an ONNX model's metadata counts; "delay:2":
            twice that. For tests and benchmarks only: `__main__` has it from MODELYARD_TEST_RUNTIME.

    Preprocessing that lies in the artifact encloses the model.

    Raises:
        InvalidInputError: no engine for the format, no such device, a precision that the device does not have, or an
            artifact that cannot be loaded as data; and whatever else the engine raises.
    """
    runtime = _load_model(format_name, directory, options, cores, test_runtime)
    if not files.is_there(directory):
        return runtime
    from modelyard_worker.runtimes.preprocessed import enclose  # noqa: PLC0415 (it brings a tokenizer's threads)

    return enclose(runtime, directory / files.DIRECTORY)


def _load_model(format_name: str, directory: Path, options: InstanceOptions, cores: int, test_runtime: str) -> Runtime:
    threads = options.threads or cores
    if format_name == "onnx":
        from modelyard_worker.runtimes.onnx import OnnxRuntime  # noqa: PLC0415 (an engine is imported where it is used)

        runtime = OnnxRuntime(directory, threads, options.device, options.precision)
        name, _, factor = test_runtime.partition(":")
        return _delayed(runtime, float(factor or 1)) if name == "delay" else runtime
    if format_name == "torch_export":
        # OpenMP's idle threads must not spin on cores that other models need; it reads this when torch is imported.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from modelyard_worker.runtimes.torch_export import TorchExportRuntime  # noqa: PLC0415 (likewise)

        return TorchExportRuntime(directory, threads, options.device, options.precision)
    raise InvalidInputError(f"format: expected {' or '.join(FORMATS)}, got {format_name!r}")


def _delayed(runtime: OnnxRuntime, factor: float) -> Runtime:
    if not is_delayed(runtime.metadata):
        return runtime
    runtime.close()
    return DelayRuntime(runtime.signature, runtime.metadata, factor)


def release() -> None:
    """Return to the system what the C library keeps of freed memory, so that an unloaded model leaves none behind."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
        if trim is not None:
            trim(0)
