"""Servers: handlers from a service's descriptor, one interceptor chain, health, reflection, drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import stat
from collections.abc import Collection, Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection, reflection_pb2

from modelyard.errors import InvalidInputError
from modelyard.rpc.channel import OPTIONS, arity, method_path
from modelyard.rpc.gate import Gate
from modelyard.rpc.health import SERVICE as HEALTH
from modelyard.rpc.health import Health
from modelyard.rpc.interceptor import ErrorInterceptor, Surrounding

log = logging.getLogger(__name__)

GRACE_S = 10.0
SERVER_OPTIONS = [
    *OPTIONS,
    ("grpc.so_reuseport", 0),
    # Clients may ping as often as we do.
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
]

_REFLECTION = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
WINDOW_BYTES = 256 << 10
"""What a client may send ahead of what is being read; of a message that is being read it may send all."""
BOUNDED_MESSAGE_BYTES = 32 << 20
BOUNDED_OPTIONS: list[tuple[str, Any]] = [
    # Left to itself gRPC widens the window with what the line could carry: tens of MiB on a fast one.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
    ("grpc.max_receive_message_length", BOUNDED_MESSAGE_BYTES),
]


def _handlers(service: ServiceDescriptor, servicer: object, raw: Sequence[str]) -> dict[str, Any]:
    """The handler of every method that the servicer has, by its path."""
    return {
        method_path(m): _handler(m, getattr(servicer, m.name), m.name in raw)
        for m in service.methods
        if hasattr(servicer, m.name)
    }


def _handler(method: MethodDescriptor, behaviour: Any, raw: bool) -> Any:
    make = getattr(grpc, f"{arity(method)}_rpc_method_handler")
    if raw:
        return make(behaviour)
    request_type = message_factory.GetMessageClass(method.input_type)
    response_serializer = message_factory.GetMessageClass(method.output_type).SerializeToString

    def read(data: bytes) -> Any:
        try:
            return request_type.FromString(data)
        except DecodeError:
            raise InvalidInputError(
                f"expected a {method.input_type.name}, got {len(data)} bytes that are none"
            ) from None

    if method.client_streaming:
        return make(behaviour, request_deserializer=read, response_serializer=response_serializer)
    # gRPC would read a single request outside of the interceptors, and answer UNKNOWN where it cannot.
    return make(lambda data, context: behaviour(read(data), context), response_serializer=response_serializer)


class _Routes(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Finds handlers, each wrapped by every interceptor: those of known paths once, others when they are called."""

    def __init__(self, interceptors: Sequence[Surrounding]) -> None:
        self._interceptors = interceptors
        self._by_path: dict[str, Any] = {}
        self._generic: list[Any] = []

    def add(self, handlers: dict[str, Any]) -> None:
        self._by_path |= {path: self._wrapped(path, handler) for path, handler in handlers.items()}

    def add_generic(self, handler: Any) -> None:
        self._generic.append(handler)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path: Any = handler_call_details.method
        found = self._by_path.get(path)
        if found is not None:
            return found
        made = (generic.service(handler_call_details) for generic in self._generic)
        return next((self._wrapped(path, handler) for handler in made if handler is not None), None)

    def _wrapped(self, path: str, handler: Any) -> Any:
        for interceptor in reversed(self._interceptors):
            handler = interceptor.wrap(path, handler)
        return handler


class Server:
    """A gRPC server of one process: its services, grpc.health.v1 and reflection."""

    def __init__(
        self,
        name: str,
        *,
        reuse_port: bool = False,
        lasting: Collection[str] = (),
        interceptors: Sequence[Surrounding] = (),
        bounded: bool = False,
    ) -> None:
        """Name the server; it does not listen yet.

        Args:
            name: how its log calls it.
            reuse_port: whether others may listen on the same port.
            lasting: paths of methods whose answers have no end: they are ended when the server stops.
            interceptors: around every handler, within the one that turns errors into statuses.
            bounded: whether a message may have no more than BOUNDED_MESSAGE_BYTES, and a stream that is not being read
                may fill no more than WINDOW_BYTES of memory.
        """
        options = dict(SERVER_OPTIONS) | {"grpc.so_reuseport": int(reuse_port)}
        options |= dict(BOUNDED_OPTIONS) if bounded else {}
        self._gate = Gate()
        self._port = 0
        self._routes = _Routes([ErrorInterceptor(name, self._gate, lasting), *interceptors])
        self._server = grpc.aio.server(handlers=[self._routes], options=list(options.items()))
        self.health = Health()
        """What it answers by grpc.health.v1: for itself, for each of its services, and what else is set there."""

        self._pool = descriptor_pool.DescriptorPool()
        self._names: list[str] = [reflection.SERVICE_NAME, HEALTH.full_name]
        self._services: list[str] = []
        self._reflect(HEALTH)

    def add(self, service: ServiceDescriptor, servicer: object, raw: Sequence[str] = ()) -> None:
        """Serve a service by the methods of a servicer; those in `raw` get and return serialized messages as bytes."""
        self._routes.add(_handlers(service, servicer, raw))
        self._announce(service)

    def add_generic(self, service: ServiceDescriptor, handler: Any) -> None:
        """Serve a service by a handler of its own."""
        self._routes.add_generic(handler)
        self._announce(service)

    def _announce(self, service: ServiceDescriptor) -> None:
        self._names.append(service.full_name)
        self._services.append(service.full_name)
        self._reflect(service)

    def _reflect(self, service: ServiceDescriptor) -> None:
        def add(file: Any) -> None:
            for dependency in file.dependencies:
                add(dependency)
            proto = descriptor_pb2.FileDescriptorProto()
            file.CopyToProto(proto)
            self._pool.Add(proto)

        add(service.file)

    async def start(self, address: str) -> str:
        """Listen on host:port (port 0: any); return host:port as bound."""
        self._routes.add(_handlers(HEALTH, self.health, ()))
        reflecting = reflection.aio.ReflectionServicer(self._names, pool=self._pool)  # type: ignore[attr-defined]
        self._routes.add(_handlers(_REFLECTION, reflecting, ()))
        try:
            self._port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        await self._server.start()
        self.set_serving(True)
        return f"{address.rpartition(':')[0]}:{self._port}"

    def set_serving(self, serving: bool) -> None:
        """Answer health checks of the server and of each of its services with SERVING or NOT_SERVING."""
        for name in ("", *self._services):
            self.health.set(name, serving)

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """Refuse new calls with UNAVAILABLE, let those in flight finish, hang up, close."""
        self.health.end()
        await self._gate.shut(grace_s)
        _hang_up(self._port)
        await self._server.stop(0)


def _hang_up(port: int) -> None:
    """Close the connections of our clients at this port.

    gRPC answers calls that it has received but not handed to us yet with CANCELLED when it stops; who has lost the
    connection gets UNAVAILABLE, and tries again.
    """
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # it was closed meanwhile, or is no connection
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                with socket.socket(fileno=os.dup(int(name))) as connection:
                    if connection.family != socket.AF_UNIX and connection.getsockname()[1] == port:
                        connection.getpeername()
                        connection.shutdown(socket.SHUT_RDWR)


def on_termination() -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; the second ends the process at once."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if event.is_set():
            log.warning("second signal, exiting at once")
            signal.raise_signal(signal.SIGKILL)
        event.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return event
