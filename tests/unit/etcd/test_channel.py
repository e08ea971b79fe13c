"""What etcd's and gRPC's statuses become."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from modelyard.errors import ExhaustedError, InvalidInputError, UnavailableError
from modelyard.etcd import Etcd, HistoryLostError, RefusedError

ROWS = [
    ("UNAVAILABLE", "etcdserver: leader changed", UnavailableError),
    ("UNAVAILABLE", "etcdserver: request timed out", UnavailableError),
    ("UNAVAILABLE", "Socket closed", UnavailableError),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", UnavailableError),
    ("UNKNOWN", "raft proposal dropped", UnavailableError),
    ("INTERNAL", "Received RST_STREAM with error code 2", UnavailableError),
    ("NOT_FOUND", "etcdserver: requested lease not found", UnavailableError),
    ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", ExhaustedError),
    ("RESOURCE_EXHAUSTED", "etcdserver: too many requests", ExhaustedError),
    ("INVALID_ARGUMENT", "etcdserver: request is too large", InvalidInputError),
    ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (5 vs. 4)", InvalidInputError),
    ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (5 vs. 4)", RefusedError),
    ("RESOURCE_EXHAUSTED", "grpc: trying to send message larger than max (5 vs. 4)", RefusedError),
    ("INVALID_ARGUMENT", "etcdserver: too many operations in txn request", RefusedError),
    ("INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request", RefusedError),
    ("PERMISSION_DENIED", "etcdserver: permission denied", RefusedError),
    ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted", HistoryLostError),
]


@pytest.mark.parametrize(("code", "details", "kind"), ROWS, ids=[details for _, details, _ in ROWS])
async def test_what_a_status_becomes(code: str, details: str, kind: type[Exception]) -> None:
    async def fails(request: object, timeout: float) -> object:
        status = grpc.StatusCode[code]
        raise grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(), details, None)

    client = Etcd("127.0.0.1:1")
    client._members._members[0].kv.Range = fails
    with pytest.raises(kind, match=details.replace("(", r"\(").replace(")", r"\)")) as caught:
        await client.get("/a")
    assert type(caught.value) is kind
    await client.close()
