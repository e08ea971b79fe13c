"""MLServer's side: a custom runtime on ONNX Runtime."""

from __future__ import annotations

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):  # type: ignore[misc]
    """One session; MLServer's own batching joins requests before it and splits the response after it."""

    async def load(self) -> bool:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.settings.parameters.extra["threads"]
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(self.settings.parameters.uri, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        feed = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        names = [output.name for output in self._session.get_outputs()]
        results = self._session.run(names, feed)
        outputs = [NumpyCodec.encode_output(name, array) for name, array in zip(names, results, strict=True)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
