"""Tensors between numpy, as the Open Inference Protocol's datatypes are held, and torch."""

from __future__ import annotations

import numpy as np
import torch

from modelyard.oip.tensors import Array

DTYPES = {
    "BOOL": torch.bool,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "UINT8": torch.uint8,
    "UINT16": torch.uint16,
    "UINT32": torch.uint32,
    "UINT64": torch.uint64,
    "FP16": torch.float16,
    "BF16": torch.bfloat16,
    "FP32": torch.float32,
    "FP64": torch.float64,
}
"""Torch's type of each datatype; it has none for BYTES."""


def to_torch(array: Array, datatype: str, device: torch.device) -> torch.Tensor:
    """Return the array as a tensor on the device, without a copy where it is the CPU and the array can be written.

    What cannot be written is copied: a program may change its inputs, and a request's bytes are not its own.
    """
    tensor = torch.from_numpy(array if array.flags.writeable else np.array(array))
    if datatype == "BF16":
        tensor = tensor.view(torch.bfloat16)
    return tensor.to(device)


def to_numpy(tensor: torch.Tensor, datatype: str) -> Array:
    """Return the tensor as an array of the datatype, converted where the program computed in another precision."""
    kept = tensor.to(DTYPES[datatype])
    return (kept.view(torch.uint16) if datatype == "BF16" else kept).numpy(force=True)
