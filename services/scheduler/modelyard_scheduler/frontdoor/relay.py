"""modelyard.v1.* at the front door: passed on as raw bytes to a replica that is live, so that one address suffices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from modelyard.errors import UnavailableError
from modelyard.rpc.interceptor import Context
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.status import LOST_STATUS
from modelyard.tasks import completed

_OWN_METADATA = ("user-agent", "grpc-", ":")


class Relay(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Relays every method of one service. A unary call is a stream of one message, so one way serves all kinds."""

    def __init__(self, service: str, replicas: Replicas) -> None:
        """`service`: its full name, such as modelyard.v1.Registry."""
        self._prefix = f"/{service}/"
        self._replicas = replicas

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a call, None if it is not of this service."""
        method = handler_call_details.method
        if not method.startswith(self._prefix):
            return None

        async def relay(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            async for response in self._relay(method, requests, context):
                yield response

        return grpc.stream_stream_rpc_method_handler(relay)

    async def _relay(self, method: str, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        channel = await self._replicas.channel()
        metadata = [(k, v) for k, v in context.invocation_metadata() or () if not k.startswith(_OWN_METADATA)]
        call = channel.stream_stream(method, None, None)(requests, metadata=metadata, timeout=context.time_remaining())
        try:
            initial = await call.initial_metadata()
            if not call.done():
                await completed(context.send_initial_metadata(tuple(initial)))
            async for response in call:
                yield response
            context.set_trailing_metadata(tuple(await call.trailing_metadata()))
        except grpc.aio.AioRpcError as failure:
            if failure.details() == LOST_STATUS or failure.code() is grpc.StatusCode.CANCELLED:
                raise UnavailableError("the replica behind the front door ended the call") from failure
            trailers: Any = failure.trailing_metadata() or ()
            await context.abort(failure.code(), failure.details() or "", tuple(trailers))
        finally:
            call.cancel()
