"""Calling models: the Open Inference Protocol from the client's side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import DeadlineError, UnavailableError
from modelyard.oip import messages
from modelyard.oip.tensors import decode_response, encode_request
from modelyard.results import Array, InferResult, ModelMetadata, ServerMetadata
from modelyard.sdk.connection import Calls, resolve
from modelyard.sdk.direct import DirectCalls
from modelyard.sdk.settings import check_timeout

PROBE_S = 5.0


class InferenceCalls(Calls):
    """Deployed models. A `name` may be `name@version_or_alias`; without a version the newest deployed one answers."""

    _direct: DirectCalls | None = None

    async def infer(
        self,
        name: str,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        version: str = "",
        outputs: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> dict[str, Array]:
        """Return a model's outputs by name.

        Args:
            name: the model.
            inputs: an array for each input, of exactly its datatype and shape. Arrays of str, bytes or object are
                BYTES; lists become what numpy makes of them.
            version: a version or an alias.
            outputs: the outputs wanted; all where empty.
            timeout_s: the deadline over all attempts; None for the client's.

        Returns:
            Arrays of the outputs' datatypes and shapes; BYTES as dtype object holding bytes, BF16 as float32.

        Raises:
            InvalidInputError: an input is missing, unknown or has another datatype, shape or length; timeout_s is not a
                finite number above 0.
            NotFoundError: no such model or version.
            PreconditionError: the model is not deployed.
            UnavailableError: no replica answered before the deadline.
            ExhaustedError: its queue is full.
            ModelExecutionError: the model failed on these inputs.
            DeadlineError: the answer did not come in time.
        """
        result = await self.infer_result(name, inputs, version=version, outputs=outputs, timeout_s=timeout_s)
        return result.outputs

    async def infer_result(
        self,
        name: str,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        version: str = "",
        outputs: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> InferResult:
        """As `infer`, with the version that answered and the worker that it ran on."""
        reference = resolve(name, version)
        arrays = {key: np.asarray(value) for key, value in inputs.items()}
        if timeout_s is not None:
            check_timeout(timeout_s)
        request = encode_request(reference.model, reference.version, arrays, outputs)
        answer = await self._infer(request, timeout_s)
        worker = answer.parameters["worker"].string_param if "worker" in answer.parameters else ""
        return InferResult(decode_response(answer), answer.model_name, answer.model_version, worker)

    async def _infer(self, request: messages.ModelInferRequest, timeout_s: float | None) -> Any:
        if self._direct is not None:
            return await self._direct.infer(request, timeout_s)
        return await self._connection.call(self._connection.inference.ModelInfer, request, timeout_s=timeout_s)

    async def live(self, timeout_s: float = PROBE_S) -> bool:
        """Whether the front door is live; False too if nothing answers within `timeout_s`."""
        answer = await self._probe(self._connection.inference.ServerLive, messages.ServerLiveRequest(), timeout_s)
        return answer is not None and bool(answer.live)

    async def ready(self, timeout_s: float = PROBE_S) -> bool:
        """Whether the front door can route calls; False too if nothing answers within `timeout_s`."""
        answer = await self._probe(self._connection.inference.ServerReady, messages.ServerReadyRequest(), timeout_s)
        return answer is not None and bool(answer.ready)

    async def _probe(self, method: Any, request: Any, timeout_s: float) -> Any:
        try:
            return await self._connection.call(method, request, timeout_s=timeout_s, retry=False)
        except (UnavailableError, DeadlineError):
            return None

    async def model_ready(self, name: str, version: str = "") -> bool:
        """Whether a replica answers; none does of a model or version that there is not."""
        reference = resolve(name, version)
        request = messages.ModelReadyRequest(name=reference.model, version=reference.version)
        return bool((await self._connection.call(self._connection.inference.ModelReady, request)).ready)

    async def server_metadata(self) -> ServerMetadata:
        """Return what the front door says of itself."""
        request = messages.ServerMetadataRequest()
        answer = await self._connection.call(self._connection.inference.ServerMetadata, request)
        return ServerMetadata(answer.name, answer.version, tuple(answer.extensions))

    async def metadata(self, name: str, version: str = "", *, timeout_s: float | None = None) -> ModelMetadata:
        """Return the signature, platform and versions of a deployed model.

        Args:
            name: a model.
            version: a version or an alias.
            timeout_s: how long to wait until it can say so, as for one that is loaded when it is called; the client's
                own where it is None.

        Raises:
            NotFoundError: no such model or version.
            PreconditionError: it is not deployed.
            UnavailableError: it was not READY in time.
        """
        if timeout_s is not None:
            check_timeout(timeout_s)
        reference = resolve(name, version)
        request = messages.ModelMetadataRequest(name=reference.model, version=reference.version)
        answer = await self._connection.call(self._connection.inference.ModelMetadata, request, timeout_s=timeout_s)
        inputs, outputs = (
            tuple(TensorSpec(t.name, t.datatype, tuple(t.shape)) for t in tensors)
            for tensors in (answer.inputs, answer.outputs)
        )
        return ModelMetadata(answer.name, tuple(answer.versions), answer.platform, Signature(inputs, outputs))
