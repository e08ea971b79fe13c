"""Triton's side: a model.py of its Python backend, ONNX Runtime over the requests of one dynamic batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as backend


class TritonPythonModel:
    """One session; the requests of a batch are joined, executed once and split."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(config["parameters"]["threads"]["string_value"])
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = config["input"][0]["name"]
        self._output = config["output"][0]["name"]

    def execute(self, requests: list[Any]) -> list[Any]:
        arrays = [backend.get_input_tensor_by_name(request, self._input).as_numpy() for request in requests]
        joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        (result,) = self._session.run([self._output], {self._input: joined})
        ends = np.cumsum([len(array) for array in arrays])[:-1]
        parts = [result] if len(arrays) == 1 else np.split(result, ends)
        return [backend.InferenceResponse([backend.Tensor(self._output, part)]) for part in parts]
