"""The page that Prometheus scrapes: GET /metrics over HTTP/1.1, in its text format or in OpenMetrics."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

PATH = "/metrics"
TIMEOUT_S = 10.0
"""For a client to send its request, and for it to take the answer."""
MAX_CONNECTIONS = 32
MAX_HEAD_BYTES = 16 << 10


@dataclass(frozen=True)
class Request:
    """What is asked for; the names of headers in small letters."""

    method: str
    path: str
    headers: dict[str, str]


class Endpoint:
    """Answers in the event loop; the page is made in one thread, so that calls need not wait for it."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._thread = ThreadPoolExecutor(1, "metrics")
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> str:
        """Listen (port 0: any); return host:port as bound. Raise OSError if that cannot be."""
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=MAX_HEAD_BYTES)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen for metrics on {host}:{port}: {error.strerror}") from error
        return f"{host}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Listen no more; break off what is under way."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._thread.shutdown()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        task = asyncio.ensure_future(self._converse(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close. A client that is slow, or goes, is none of our concern."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                writer.write(await self._answer(await _read(reader)))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("scrape broken off", extra={"reason": repr(error)})
        finally:
            with contextlib.suppress(OSError):
                writer.close()

    async def _answer(self, request: Request | None) -> bytes:
        if request is None:
            return _response("400 Bad Request", b"expected an HTTP request\n")
        if request.path.partition("?")[0] != PATH:
            return _response("404 Not Found", f"expected {PATH}\n".encode())
        if request.method not in {"GET", "HEAD"}:
            return _response("405 Method Not Allowed", b"expected GET\n", {"Allow": "GET, HEAD"})
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        try:
            page = await asyncio.get_running_loop().run_in_executor(self._thread, encode, self._collector)
        except Exception:  # whatever it is: who scrapes is told, and the service goes on
            log.exception("metrics not gathered")
            return _response("500 Internal Server Error", b"the metrics cannot be gathered; the log says why\n")
        headers = {"Content-Type": content_type}
        if "gzip" in request.headers.get("accept-encoding", ""):
            page, headers["Content-Encoding"] = gzip.compress(page, 1), "gzip"
        answer = _response("200 OK", page, headers)
        return answer[: -len(page)] if request.method == "HEAD" else answer


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """Read the head of a request; None if it is none."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    named = (line.partition(":") for line in lines if line)
    return Request(words[0], words[1], {name.strip().lower(): value.strip() for name, _, value in named})


def _response(status: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    fields = {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}
    fields |= {"Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
