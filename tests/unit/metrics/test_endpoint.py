"""The page over HTTP, as Prometheus and others ask for it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from modelyard.local.ports import Port
from modelyard.metrics import endpoint, families
from modelyard.metrics.replica import ReplicaMetrics


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[ReplicaMetrics]:
    async with ReplicaMetrics("scheduler", tmp_path) as metrics:
        metrics.journal.cell(families.REQUESTS, "m", "1", "OK").add(2)
        yield metrics


async def ask(address: str, *lines: str) -> tuple[str, dict[str, str], bytes]:
    """Send a request; return status, headers and body of the answer."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return status, dict(field.split(": ", 1) for field in fields), body


async def test_the_text_format_is_the_default(replica: ReplicaMetrics) -> None:
    address = await replica.serve("127.0.0.1", 0)
    status, headers, body = await ask(address, "GET /metrics HTTP/1.1", "Host: x")
    assert status == "HTTP/1.1 200 OK"
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert int(headers["Content-Length"]) == len(body)
    found = {metric.name: metric for metric in parse_text(body.decode())}
    assert [sample.value for sample in found["modelyard_requests"].samples] == [2.0]


async def test_openmetrics_where_it_is_accepted(replica: ReplicaMetrics) -> None:
    address = await replica.serve("127.0.0.1", 0)
    accepted = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    _, headers, body = await ask(address, "GET /metrics HTTP/1.1", accepted)
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    parser: Any = openmetrics
    found = {metric.name for metric in parser.text_string_to_metric_families(body.decode())}
    assert "modelyard_requests" in found


async def test_compressed_where_that_is_accepted(replica: ReplicaMetrics) -> None:
    address = await replica.serve("127.0.0.1", 0)
    _, headers, body = await ask(address, "GET /metrics HTTP/1.1", "Accept-Encoding: deflate, gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert b"modelyard_requests_total" in gzip.decompress(body)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET / HTTP/1.1", "404 Not Found"),
        ("GET /metrics/x HTTP/1.1", "404 Not Found"),
        ("POST /metrics HTTP/1.1", "405 Method Not Allowed"),
        ("GET /metrics", "400 Bad Request"),
        ("hello", "400 Bad Request"),
        ("GET /metrics?name=x HTTP/1.0", "200 OK"),
    ],
)
async def test_what_is_asked_for_wrongly_is_said_so(replica: ReplicaMetrics, line: str, status: str) -> None:
    address = await replica.serve("127.0.0.1", 0)
    assert (await ask(address, line))[0] == f"HTTP/1.1 {status}"


async def test_head_has_no_body(replica: ReplicaMetrics) -> None:
    address = await replica.serve("127.0.0.1", 0)
    status, headers, body = await ask(address, "HEAD /metrics HTTP/1.1")
    assert (status, body) == ("HTTP/1.1 200 OK", b"")
    assert int(headers["Content-Length"]) > 0


async def test_a_head_without_end_is_not_read_on(replica: ReplicaMetrics) -> None:
    host, _, port = (await replica.serve("127.0.0.1", 0)).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (endpoint.MAX_HEAD_BYTES + 1))
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()


async def test_who_says_nothing_is_hung_up_on(replica: ReplicaMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "TIMEOUT_S", 0.05)
    host, _, port = (await replica.serve("127.0.0.1", 0)).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    assert await reader.read() == b""
    writer.close()


async def test_too_many_connections_are_closed_and_others_go_on(
    replica: ReplicaMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "MAX_CONNECTIONS", 2)
    address = await replica.serve("127.0.0.1", 0)
    host, _, port = address.rpartition(":")
    silent = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
    refused, writer = await asyncio.open_connection(host, int(port))
    assert await refused.read() == b""
    writer.close()
    for _, each in silent:
        each.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    answers = [await reader.read() for reader, _ in silent]
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    for _, each in silent:
        each.close()


async def test_the_event_loop_goes_on_while_the_page_is_made(
    replica: ReplicaMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = await replica.serve("127.0.0.1", 0)
    with replica.gathering._reading:  # as long as somebody has it, no page can be made
        asked = asyncio.ensure_future(ask(address, "GET /metrics HTTP/1.1"))
        done, _ = await asyncio.wait([asked], timeout=0.1)
        assert not done
    assert (await asked)[0] == "HTTP/1.1 200 OK"


async def test_a_page_that_cannot_be_made_is_said_so(
    replica: ReplicaMetrics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ValueError("damaged")

    address = await replica.serve("127.0.0.1", 0)
    with monkeypatch.context() as patch:
        patch.setattr(replica.gathering, "collect", broken)
        assert (await ask(address, "GET /metrics HTTP/1.1"))[0] == "HTTP/1.1 500 Internal Server Error"
    assert "ValueError: damaged" in caplog.text
    assert (await ask(address, "GET /metrics HTTP/1.1"))[0] == "HTTP/1.1 200 OK"


async def test_a_port_that_is_taken_is_named(replica: ReplicaMetrics) -> None:
    address = await replica.serve("127.0.0.1", 0)
    with pytest.raises(OSError, match=f"cannot listen for metrics on {address}"):
        await replica.serve("127.0.0.1", int(address.rpartition(":")[2]))


async def test_a_port_that_up_holds_can_be_listened_on(replica: ReplicaMetrics) -> None:
    port = Port()
    assert await replica.serve("127.0.0.1", port.number) == port.address
    port.release()
