"""Interceptors around every handler of a server, and the first of them: it turns errors into statuses."""

from __future__ import annotations

import contextlib
import inspect
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import grpc.aio

from modelyard.errors import ModelyardError
from modelyard.names import check_name
from modelyard.rpc.gate import Gate
from modelyard.rpc.status import ERROR_KEY, REQUEST_ID_KEY, TENANT_KEY, code_of, details_of, trailers_of
from modelyard.tasks import until

log = logging.getLogger(__name__)
Context = grpc.aio.ServicerContext[Any, Any]
GRPC_SERVICES = "/grpc."
"""How the paths of gRPC's own methods begin: health and reflection."""


def tenant_of(context: Context) -> str:
    """The tenant named in the request's metadata, `default` where absent."""
    for key, value in context.invocation_metadata() or ():
        if key == TENANT_KEY:
            return check_name("tenant", str(value))
    return "default"


class Surrounding:
    """Runs every handler, of all four kinds of RPC, within a scope of its own: `around`.

    Handlers are wrapped once, when they are added to a server: grpc.aio's own interceptors cost every call some 20 µs.
    """

    def around(self, method: str, context: Context) -> AbstractAsyncContextManager[None]:
        """The scope of one call; `method` is its path."""
        raise NotImplementedError

    def answers(self, method: str, answers: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        """What is sent of what a streaming handler yields; all of it, unless this is overridden."""
        return answers

    def wrap(self, method: str, handler: Any) -> Any:
        """Return the handler of a method, by its path, within the scope."""
        requests = "stream" if handler.request_streaming else "unary"
        responses = "stream" if handler.response_streaming else "unary"
        behaviour = getattr(handler, f"{requests}_{responses}")
        make = getattr(grpc, f"{requests}_{responses}_rpc_method_handler")
        wrap = self.stream if handler.response_streaming else self.unary
        return make(wrap(method, behaviour), handler.request_deserializer, handler.response_serializer)

    def unary(self, method: str, behaviour: Any) -> Any:
        """A behaviour that answers once, within the scope."""

        async def call(request: Any, context: Context) -> Any:
            async with self.around(method, context):
                return await behaviour(request, context)

        return call

    def stream(self, method: str, behaviour: Any) -> Any:
        """A behaviour that streams, within the scope: a generator, or a coroutine that writes into the context."""

        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self.around(method, context):
                made = behaviour(request, context)
                if inspect.isawaitable(made):
                    await made
                    return
                async with contextlib.aclosing(self.answers(method, made)) as answers:
                    async for answer in answers:
                        yield answer

        return call


class ErrorInterceptor(Surrounding):
    """Turns what a handler raises into a status, for all four kinds of RPC.

    A ModelyardError becomes its row of the table; anything else INTERNAL with a constant text and the request's id,
    and its stack goes to our log. A method that lasts, named by its path, streams answers until the gate shuts. The
    gate counts no calls of gRPC's own services: a server that stops still says so to who asks for its health, and does
    not wait for who watches it.
    """

    def __init__(self, server: str, gate: Gate, lasting: Collection[str] = ()) -> None:
        self._server = server
        self._gate = gate
        self._lasting = lasting

    def unary(self, method: str, behaviour: Any) -> Any:
        """As `around`, without the cost of a context manager: this is the way of every inference."""
        counted = not method.startswith(GRPC_SERVICES)

        async def call(request: Any, context: Context) -> Any:
            try:
                if counted:
                    self._gate.enter(context)
                return await behaviour(request, context)
            except Exception as error:
                await self._abort(method, context, error)

        return call

    @contextlib.asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Through the gate, and errors into statuses."""
        try:
            if not method.startswith(GRPC_SERVICES):
                self._gate.enter(context)
            yield
        except Exception as error:
            await self._abort(method, context, error)

    def answers(self, method: str, answers: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        """All, or those of a method that lasts until the gate shuts."""
        return self._while_open(answers) if method in self._lasting else answers

    async def _while_open(self, messages: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        async with contextlib.aclosing(until(self._gate.shutting, messages)) as some:
            async for message in some:
                yield message
        self._gate.check_open()

    async def _abort(self, method: str, context: Context, error: Exception) -> None:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, ModelyardError):
            await context.abort(code_of(error), details_of(error), (*_trailers(context), *trailers_of(error)))
        request_id = uuid.uuid4().hex
        log.error(
            "unforeseen error",
            exc_info=error,
            extra={"method": method, "request_id": request_id, "server": self._server},
        )
        trailers = (*_trailers(context), (ERROR_KEY, "InternalError"), (REQUEST_ID_KEY, request_id))
        await context.abort(grpc.StatusCode.INTERNAL, f"internal error, request id {request_id}", trailers)


def _trailers(context: Context) -> tuple[tuple[str, str | bytes], ...]:
    """The trailing metadata that has been set for the call already."""
    return tuple(context.trailing_metadata() or ())
