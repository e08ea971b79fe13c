"""A web server with files in memory, which serves ranges, and can be told to behave otherwise."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]+)")


class WebServer(ThreadingHTTPServer):
    """Files by their paths.

    Attributes:
        files: what there is.
        instead: answers a request in the server's place.
        requests: the range of each that came.
        connections: how many were made.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.instead: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.requests: list[str] = []
        self.connections = 0

    @property
    def url(self) -> str:
        """Of its root, without a slash."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        cast(WebServer, self.server).connections += 1

    def do_GET(self) -> None:
        server = cast(WebServer, self.server)
        server.requests.append(self.headers.get("Range", ""))
        if server.instead:
            server.instead(self)
        elif self.path not in server.files:
            self.send_error(404)
        else:
            self._serve(server.files[self.path])

    def _serve(self, data: bytes) -> None:
        found = _RANGE.fullmatch(self.headers["Range"])
        assert found
        begin, end = int(found[1]), min(int(found[2]) + 1, len(data))
        status, span, body = (206, f"{begin}-{end - 1}", data[begin:end]) if begin < end else (416, "*", b"")
        self.send_response(status)
        self.send_header("Content-Range", f"bytes {span}/{len(data)}")
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()[:8]}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[WebServer]:
    """A server that answers until the end."""
    server = WebServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
