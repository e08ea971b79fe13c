"""Archives of torch.export on torch, on the CPU or on a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from modelyard.errors import InvalidInputError, ModelExecutionError
from modelyard.oip.tensors import Array
from modelyard_worker.runtimes import release
from modelyard_worker.runtimes.choices import check_precision, parse_device
from modelyard_worker.runtimes.labels import read_labels
from modelyard_worker.runtimes.torch_program import Program
from modelyard_worker.runtimes.torch_tensors import to_numpy, to_torch

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_GUARD = "Guard failed: "


class TorchExportRuntime:
    """One program, executed operator by operator."""

    platform = "torch_export"

    def __init__(self, directory: Path, threads: int, device: str = "", precision: str = "") -> None:
        """Load the one .pt2 file of the directory.

        Args:
            directory: the artifact.
            threads: for the operators. Torch has one such number for a process: each run sets its own first, so of
                models in one runner that run at the same moment one may run with the other's.
            device: see `runtimes.load`.
            precision: bf16 and fp16 are torch's autocast: matrix products and convolutions in that precision, with
                weights, inputs and outputs as they are; tf32 lets a GPU round their factors.

        Raises:
            InvalidInputError: see `runtimes.load`.
        """
        (path,) = sorted(directory.rglob("*.pt2"))
        self._device = _device(device)
        check_precision("torch_export", self._device.type, precision, _precisions(self._device))
        self._precision = precision
        self._threads = threads
        self.labels = read_labels(directory)
        self._program = Program(path, self._device, relaxed=precision in _AUTOCAST)
        self.signature = self._program.signature

    def run(self, inputs: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Execute; see Runtime."""
        self._set_process()
        try:
            with torch.inference_mode(), self._autocast():
                tensors = [to_torch(inputs[t.name], t.datatype, self._device) for t in self.signature.inputs]
                found = zip(self.signature.outputs, self._program(tensors), strict=True)
                return {t.name: to_numpy(tensor, t.datatype) for t, tensor in found if t.name in outputs}
        except Exception as error:
            raise _failure(error, inputs) from error

    def close(self) -> None:
        """See Runtime."""
        del self._program
        release()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _set_process(self) -> None:
        """Set what torch keeps for the whole process, and other models in it set otherwise."""
        torch.set_num_threads(self._threads)
        if self._device.type == "cuda":
            torch.set_float32_matmul_precision("high" if self._precision == "tf32" else "highest")
            torch.backends.cudnn.allow_tf32 = self._precision == "tf32"

    def _autocast(self) -> AbstractContextManager[object]:
        if self._precision not in _AUTOCAST:
            return _AS_IT_IS
        return torch.autocast(self._device.type, _AUTOCAST[self._precision])


_AS_IT_IS = contextlib.nullcontext()


def _device(name: str) -> torch.device:
    kind, index = parse_device(name)
    if kind == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        has = ", ".join(("cpu", *(f"cuda:{number}" for number in range(count))))
        raise InvalidInputError(f"device: expected one of {has}, which torch {torch.__version__} finds; got {name!r}")
    return torch.device("cuda", index)


def _precisions(device: torch.device) -> list[str]:
    """What the device computes in."""
    if device.type == "cpu":
        return ["fp32", "bf16", "fp16"]
    with torch.cuda.device(device):
        tf32, bf16 = torch.cuda.is_tf32_supported(), torch.cuda.is_bf16_supported(including_emulation=False)
    return ["fp32", *["tf32"] * tf32, *["bf16"] * bf16, "fp16"]


def _failure(error: Exception, inputs: dict[str, Array]) -> InvalidInputError | ModelExecutionError:
    """A condition on shapes that the program was exported with is the caller's to meet; the rest is the model's."""
    message = str(error).strip()
    if isinstance(error, AssertionError) and message.startswith(_GUARD):
        got = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
        condition = message.removeprefix(_GUARD)
        return InvalidInputError(f"expected shapes with {condition}, as the program was exported; got {got}")
    return ModelExecutionError(message or type(error).__name__)
