"""The services behind a front door, as clients of theirs on one channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc.aio

from modelyard.oip import messages
from modelyard.rpc.channel import Stub
from modelyard.v1 import jobs_pb2, registry_pb2, router_pb2, scheduler_pb2


@dataclass(frozen=True)
class Stubs:
    """A channel, and the methods of each service on it."""

    channel: grpc.aio.Channel
    registry: Any
    scheduler: Any
    inference: Any
    router: Any
    jobs: Any

    @classmethod
    def over(cls, channel: grpc.aio.Channel) -> Stubs:
        """All of them on a channel."""
        return cls(
            channel=channel,
            registry=registry_stub(channel),
            scheduler=Stub(channel, scheduler_pb2.DESCRIPTOR.services_by_name["Scheduler"]),
            inference=Stub(channel, messages.SERVICE),
            router=Stub(channel, router_pb2.DESCRIPTOR.services_by_name["Router"]),
            jobs=Stub(channel, jobs_pb2.DESCRIPTOR.services_by_name["Jobs"]),
        )


def registry_stub(channel: grpc.aio.Channel) -> Any:
    """A client of the registry."""
    return Stub(channel, registry_pb2.DESCRIPTOR.services_by_name["Registry"])
