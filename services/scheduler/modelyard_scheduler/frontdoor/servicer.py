"""inference.GRPCInferenceService at the front door: of a request it reads the envelope, never the tensors."""

from __future__ import annotations

from google.protobuf.message import DecodeError

import modelyard
from modelyard.catalogue import TensorSpec
from modelyard.errors import InvalidInputError, NotFoundError, PreconditionError, UnavailableError
from modelyard.oip import messages
from modelyard.rpc.interceptor import Context
from modelyard.v1.runner_pb2 import Envelope
from modelyard_scheduler.frontdoor.router import Router
from modelyard_scheduler.frontdoor.table import RoutingTable

RAW_METHODS = ("ModelInfer",)
"""Methods whose messages pass through as bytes."""


class InferenceServicer:
    """The Open Inference Protocol."""

    def __init__(self, router: Router, table: RoutingTable) -> None:
        self._router = router
        self._table = table

    async def ServerLive(self, request: messages.ServerLiveRequest, context: Context) -> messages.ServerLiveResponse:
        """Whether this process answers."""
        return messages.ServerLiveResponse(live=True)

    async def ServerReady(self, request: messages.ServerReadyRequest, context: Context) -> messages.ServerReadyResponse:
        """Whether the routing table has been filled."""
        return messages.ServerReadyResponse(ready=self._table.built.is_set())

    async def ServerMetadata(
        self, request: messages.ServerMetadataRequest, context: Context
    ) -> messages.ServerMetadataResponse:
        """Name, version and extensions of this server."""
        return messages.ServerMetadataResponse(name="modelyard", version=modelyard.__version__)

    async def ModelReady(self, request: messages.ModelReadyRequest, context: Context) -> messages.ModelReadyResponse:
        """Whether a call of the model would be executed now; of an unknown model it would not."""
        try:
            target = await self._router.resolve(request.name, request.version)
        except (NotFoundError, PreconditionError, UnavailableError):
            return messages.ModelReadyResponse(ready=False)
        return messages.ModelReadyResponse(ready=any(s.connected for s in self._table.streams(target)))

    async def ModelMetadata(
        self, request: messages.ModelMetadataRequest, context: Context
    ) -> messages.ModelMetadataResponse:
        """Inputs, outputs, platform and deployed versions of a model."""
        target = await self._router.resolve(request.name, request.version)
        streams = self._table.streams(target)
        if not streams:
            raise UnavailableError(f"model {str(target)!r}: no instance of it is READY", retry_after_s=0.5)
        instance = streams[0].instance
        return messages.ModelMetadataResponse(
            name=target.model,
            versions=self._table.versions(target.model),
            platform=instance.platform,
            inputs=[_tensor(t) for t in instance.signature.inputs],
            outputs=[_tensor(t) for t in instance.signature.outputs],
        )

    async def ModelInfer(self, request: bytes, context: Context) -> bytes:
        """Execute a request on one instance."""
        try:
            envelope = Envelope.FromString(request)
        except DecodeError:
            raise InvalidInputError(f"expected a ModelInferRequest, got {len(request)} bytes that are none") from None
        if not envelope.model_name:
            raise InvalidInputError("model_name: expected the name of a model, got an empty string")
        timeout_s = context.time_remaining()
        return await self._router.infer(envelope.model_name, envelope.model_version, request, timeout_s)


def _tensor(spec: TensorSpec) -> messages.ModelMetadataResponse.TensorMetadata:
    return messages.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)
