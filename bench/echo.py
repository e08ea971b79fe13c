"""The floor: grpc.aio and uvloop answering every ModelInfer with a constant, in a process of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import uvloop

ANSWER = b"x" * 80


class Echo(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Answers every method."""

    def service(self, handler_call_details: Any) -> Any:
        """The one handler."""

        async def answer(request: bytes, context: Any) -> bytes:
            return ANSWER

        return grpc.unary_unary_rpc_method_handler(answer)


async def serve() -> None:
    """Print the port, serve until killed."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
