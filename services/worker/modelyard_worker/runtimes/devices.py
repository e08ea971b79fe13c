"""`python -m modelyard_worker.runtimes.devices`: prints, as JSON, which GPUs the engines of this machine can use.

A process of its own, because the agent that asks imports no engine: that takes seconds and hundreds of megabytes.
"""

from __future__ import annotations

import importlib.util
import json
from typing import Any


def usable() -> dict[str, Any]:
    """Return `torch`: a list of [number, name, bytes of memory], and `onnxruntime`: whether it was built for CUDA."""
    return {"torch": _torch(), "onnxruntime": _onnxruntime()}


def _torch() -> list[tuple[int, str, int]]:
    if importlib.util.find_spec("torch") is None:
        return []
    import torch  # noqa: PLC0415 (an engine is imported where it is used)

    if not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return [(number, device.name, device.total_memory) for number, device in enumerate(found)]


def _onnxruntime() -> bool:
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    import onnxruntime  # noqa: PLC0415 (likewise)

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


if __name__ == "__main__":
    print(json.dumps(usable()))
