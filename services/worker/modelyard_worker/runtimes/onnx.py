"""ONNX models on ONNX Runtime."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError, ModelExecutionError
from modelyard.oip.datatypes import BF16_STORAGE, OF_ONNX_RUNTIME
from modelyard.oip.tensors import Array
from modelyard_worker.runtimes import release
from modelyard_worker.runtimes.choices import check_precision, parse_device
from modelyard_worker.runtimes.labels import read_labels

_ONNX_BFLOAT16 = 16
_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"


class OnnxRuntime:
    """One InferenceSession, on the CPU or on a GPU."""

    platform = "onnxruntime_onnx"

    def __init__(self, directory: Path, threads: int, device: str = "", precision: str = "") -> None:
        """Load the one .onnx file of the directory, with `threads` threads for its operators.

        Raises:
            InvalidInputError: see `runtimes.load`.
        """
        (path,) = sorted(directory.rglob("*.onnx"))
        self._session = _session(path, threads, _providers(device, precision))
        self.labels = read_labels(directory)
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.signature = Signature(
            tuple(_spec(node) for node in self._session.get_inputs()),
            tuple(_spec(node) for node in self._session.get_outputs()),
        )
        self._kinds = {t.name: t.datatype for t in (*self.signature.inputs, *self.signature.outputs)}
        _check_bfloat16(self.signature)

    def run(self, inputs: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Execute; see Runtime."""
        fed = {name: self._fed(name, array) for name, array in inputs.items()}
        try:
            if any(self._kinds[name] == "BF16" for name in outputs):
                return self._run_values(fed, outputs)
            return dict(zip(outputs, self._session.run(outputs, fed), strict=True))
        except Exception as error:
            raise ModelExecutionError(str(error).strip()) from error

    def close(self) -> None:
        """See Runtime."""
        del self._session
        release()

    def _fed(self, name: str, array: Array) -> Any:
        """An input as the session takes it; numpy has no bfloat16, so that is ORT's own value."""
        if self._kinds[name] == "BYTES":
            return _decoded(name, array)
        if self._kinds[name] == "BF16":
            # ORT keeps a reference to this memory, which must be writable.
            return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(np.array(array, np.uint16), _ONNX_BFLOAT16)
        return array

    def _run_values(self, fed: dict[str, Any], outputs: Sequence[str]) -> dict[str, Array]:
        """As `session.run`, which cannot return bfloat16."""
        feed = {
            name: ort.OrtValue.ortvalue_from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in fed.items()
        }
        values = self._session.run_with_ort_values(outputs, feed)
        return {name: self._array(name, value) for name, value in zip(outputs, values, strict=True)}

    def _array(self, name: str, value: Any) -> Array:
        if self._kinds[name] != "BF16":
            return value.numpy()  # type: ignore[no-any-return]
        raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
        return np.frombuffer(raw, BF16_STORAGE).reshape(value.shape())


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # An arena keeps for good what the largest batch ever took, and is faster only for batches of many MiB.
    options.enable_cpu_mem_arena = False
    # Idle threads must not spin on cores that other models need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _providers(device: str, precision: str) -> list[tuple[str, dict[str, Any]]]:
    """The execution providers, the wanted one first; raises InvalidInputError where it cannot do what is asked."""
    kind, index = parse_device(device)
    available = ort.get_available_providers()
    if kind == "cuda" and _CUDA not in available:
        raise InvalidInputError(
            f"device: expected cpu, got {device!r}: this worker's ONNX Runtime {ort.__version__} has only "
            f"{', '.join(available)}; install modelyard-worker[cuda]"
        )
    check_precision("onnx", kind, precision, ("fp32", "tf32") if kind == "cuda" else ("fp32",))
    if kind == "cpu":
        return [(_CPU, {})]
    ort.preload_dlls()  # of CUDA, which come in wheels of their own
    # Memory grows by what is needed, not to the next power of two; FP32 means FP32 unless TF32 was asked for.
    wanted = {"device_id": index, "arena_extend_strategy": "kSameAsRequested", "use_tf32": int(precision == "tf32")}
    return [(_CUDA, wanted), (_CPU, {})]


def _session(path: Path, threads: int, providers: list[tuple[str, dict[str, Any]]]) -> ort.InferenceSession:
    """The session on the first of the providers: ONNX Runtime only logs why it drops one that it cannot start."""
    wanted, settings = providers[0]
    session = ort.InferenceSession(str(path), _options(threads), providers, enable_fallback=0)
    if session.get_providers()[0] != wanted:
        index = settings["device_id"]
        raise InvalidInputError(
            f"device: expected a GPU that ONNX Runtime {ort.__version__} can start, got cuda:{index}; the log says why"
        )
    return session


def _spec(node: Any) -> TensorSpec:
    kind = OF_ONNX_RUNTIME.get(node.type)
    if kind is None:
        raise InvalidInputError(f"{node.name!r}: expected a tensor of an OIP datatype, got {node.type}")
    return TensorSpec(node.name, kind, tuple(d if isinstance(d, int) else -1 for d in node.shape))


def _check_bfloat16(signature: Signature) -> None:
    takes_bytes = any(t.datatype == "BYTES" for t in signature.inputs)
    if takes_bytes and any(t.datatype == "BF16" for t in signature.outputs):
        raise InvalidInputError(
            "expected no BYTES input beside a BF16 output: ONNX Runtime's Python has no way to run it"
        )


def _decoded(name: str, array: Array) -> Array:
    text = np.empty(array.shape, object)
    try:
        text.reshape(-1)[:] = [element.decode() for element in array.reshape(-1)]
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"input {name!r}: expected UTF-8 in BYTES, got {error.object!r}") from None
    return text
