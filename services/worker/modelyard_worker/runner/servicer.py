"""modelyard.v1.Runner: the agent has instances loaded and unloaded."""

from __future__ import annotations

from pathlib import Path

from modelyard.errors import InvalidInputError
from modelyard.names import ModelVersion, parse_reference
from modelyard.rpc.convert import options_from_pb, signature_to_pb
from modelyard.rpc.interceptor import Context
from modelyard.v1 import runner_pb2 as pb
from modelyard_worker.runner.models import LoadOrder, Models


class RunnerServicer:
    """What one runner holds."""

    def __init__(self, models: Models, execute_port: int) -> None:
        """`execute_port`: where it takes execute streams."""
        self._models = models
        self._execute_port = execute_port

    async def Load(self, request: pb.LoadRequest, context: Context) -> pb.LoadResponse:
        """Load an instance; see Models.load."""
        loaded = await self._models.load(_order(request))
        signature = signature_to_pb(loaded.signature)
        return pb.LoadResponse(signature=signature, platform=loaded.platform, execute_port=self._execute_port)

    async def Unload(self, request: pb.UnloadRequest, context: Context) -> pb.UnloadResponse:
        """Unload an instance; see Models.unload."""
        await self._models.unload(request.instance)
        return pb.UnloadResponse()


def _order(request: pb.LoadRequest) -> LoadOrder:
    options = options_from_pb(request.options)
    return LoadOrder(_instance(request.instance), request.worker, request.format, Path(request.directory), options)


def _instance(text: str) -> ModelVersion:
    instance = parse_reference(text)
    if not instance.version:
        raise InvalidInputError(f"instance: expected model@version, got {text!r}")
    return instance
