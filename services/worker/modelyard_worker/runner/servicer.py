"""modelyard.v1.Runner: calls from the execute stream into the queue, outcomes back onto the stream; load and unload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from modelyard.errors import InvalidInputError
from modelyard.names import ModelVersion, parse_reference
from modelyard.rpc.convert import options_from_pb, signature_to_pb
from modelyard.rpc.interceptor import Context
from modelyard.rpc.status import INSTANCE_KEY
from modelyard.v1 import runner_pb2 as pb
from modelyard_worker.runner.callstream import CallStream
from modelyard_worker.runner.models import LoadOrder, Models

RAW_METHODS = ("Execute",)
"""Methods whose messages pass through as bytes."""


class RunnerServicer:
    """The execute streams of one runner, and what it holds."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._turn = asyncio.Lock()

    async def Load(self, request: pb.LoadRequest, context: Context) -> pb.LoadResponse:
        """Load an instance; see Models.load."""
        loaded = await self._models.load(_order(request))
        return pb.LoadResponse(signature=signature_to_pb(loaded.signature), platform=loaded.platform)

    async def Unload(self, request: pb.UnloadRequest, context: Context) -> pb.UnloadResponse:
        """Unload an instance; see Models.unload."""
        await self._models.unload(request.instance)
        return pb.UnloadResponse()

    async def Execute(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Execute calls as they come; answer each when it is done, all that are done in one message.

        When the instance is unloaded, the stream ends after its last reply; when the stream breaks, its calls leave the
        queue.

        Raises:
            NotFoundError: the metadata names an instance that this runner does not hold. (Its address may have been
                another runner's before.)
        """
        instance = dict(context.invocation_metadata() or ()).get(INSTANCE_KEY, "")
        model = self._models.find(str(instance))
        await context.send_initial_metadata(((INSTANCE_KEY, instance),))  # the front door sends no call before this
        stream = CallStream(model, self._turn)
        model.ended.add_done_callback(stream.end)
        reading = asyncio.ensure_future(stream.read(requests))
        try:
            with model.streams.opened():
                while replies := await stream.replies():
                    yield replies
            if reading.done() and not reading.cancelled():
                reading.result()
        finally:
            reading.cancel()
            model.ended.remove_done_callback(stream.end)
            stream.cancel()


def _order(request: pb.LoadRequest) -> LoadOrder:
    options = options_from_pb(request.options)
    return LoadOrder(_instance(request.instance), request.worker, request.format, Path(request.directory), options)


def _instance(text: str) -> ModelVersion:
    instance = parse_reference(text)
    if not instance.version:
        raise InvalidInputError(f"instance: expected model@version, got {text!r}")
    return instance
