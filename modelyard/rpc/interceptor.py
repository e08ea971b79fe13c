"""The interceptor around every handler of every server: request id, deadline and errors."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from modelyard.errors import ModelyardError
from modelyard.names import check_name
from modelyard.rpc.gate import Gate
from modelyard.rpc.status import ERROR_KEY, REQUEST_ID_KEY, TENANT_KEY, code_of, details_of, trailers_of

log = logging.getLogger(__name__)
Context = grpc.aio.ServicerContext[Any, Any]


def tenant_of(context: Context) -> str:
    """The tenant named in the request's metadata, `default` where absent."""
    for key, value in context.invocation_metadata() or ():
        if key == TENANT_KEY:
            return check_name("tenant", str(value))
    return "default"


class ErrorInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Turns what a handler raises into a status, for all four kinds of RPC.

    A ModelyardError becomes its row of the table; anything else INTERNAL with a constant text and the request's id,
    and its stack goes to our log.
    """

    def __init__(self, server: str, gate: Gate) -> None:
        self._server = server
        self._gate = gate

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of one call."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return handler
        method = handler_call_details.method
        requests = "stream" if handler.request_streaming else "unary"
        responses = "stream" if handler.response_streaming else "unary"
        behaviour = getattr(handler, f"{requests}_{responses}")
        wrapped = (self._stream if handler.response_streaming else self._unary)(method, behaviour)
        make = getattr(grpc, f"{requests}_{responses}_rpc_method_handler")
        return make(wrapped, handler.request_deserializer, handler.response_serializer)

    def _unary(self, method: str, behaviour: Any) -> Any:
        async def call(request: Any, context: Context) -> Any:
            try:
                self._gate.enter(context)
                return await behaviour(request, context)
            except Exception as error:
                await self._abort(method, context, error)

        return call

    def _stream(self, method: str, behaviour: Any) -> Any:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            try:
                self._gate.enter(context)
                result = behaviour(request, context)
                if hasattr(result, "__aiter__"):
                    async for message in result:
                        yield message
                else:
                    await result
            except Exception as error:
                await self._abort(method, context, error)

        return call

    async def _abort(self, method: str, context: Context, error: Exception) -> None:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, ModelyardError):
            await context.abort(code_of(error), details_of(error), trailers_of(error))
        request_id = uuid.uuid4().hex
        log.error(
            "unforeseen error",
            exc_info=error,
            extra={"method": method, "request_id": request_id, "server": self._server},
        )
        trailers = ((ERROR_KEY, "InternalError"), (REQUEST_ID_KEY, request_id))
        await context.abort(grpc.StatusCode.INTERNAL, f"internal error, request id {request_id}", trailers)
