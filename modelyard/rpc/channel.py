"""Channels and stubs."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

MAX_MESSAGE_BYTES = 256 << 20
OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A stopped peer is noticed only with keepalive and the ping timeout together.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # This is how long an attempt may take, too: a peer that is busy must not seem to be away.
    ("grpc.min_reconnect_backoff_ms", 3_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Retries are ours: gRPC's own stop after five attempts and know nothing of the deadline.
    ("grpc.enable_retries", 0),
]
WATCHFUL_OPTIONS = [
    (k, 1_000 if k in {"grpc.keepalive_time_ms", "grpc.http2.ping_timeout_ms"} else v) for k, v in OPTIONS
]
"""For the execute stream: a peer that stopped is noticed within about a second."""


def open_channel(address: str, *, watchful: bool = False) -> grpc.aio.Channel:
    """Return a channel to host:port."""
    return grpc.aio.insecure_channel(address, options=WATCHFUL_OPTIONS if watchful else OPTIONS)


def method_path(method: MethodDescriptor) -> str:
    """The method's path on the wire."""
    assert method.containing_service is not None  # noqa: S101 (a method always has one)
    return f"/{method.containing_service.full_name}/{method.name}"


def arity(method: MethodDescriptor) -> str:
    """The kind of a method as grpc names it, such as unary_stream."""
    return f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"


class Stub:
    """A client of one service: every method of its descriptor is an attribute."""

    def __init__(self, channel: grpc.aio.Channel, service: ServiceDescriptor) -> None:
        for method in service.methods:
            setattr(self, method.name, _multi_callable(channel, method))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the service has no method {name}")


def _multi_callable(channel: grpc.aio.Channel, method: MethodDescriptor) -> Any:
    return getattr(channel, arity(method))(
        method_path(method),
        request_serializer=message_factory.GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
