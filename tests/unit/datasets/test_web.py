from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from modelyard.datasets.remote import open_url, stamp_of
from modelyard.datasets.web import WebFile
from modelyard.errors import InvalidInputError, ModelyardError, NotFoundError, UnavailableError
from tests.webserver import WebServer, serving

DATA = bytes(range(256)) * 40
Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def web() -> Iterator[WebServer]:
    with serving() as server:
        server.files = {"/sets/x.bin": DATA, "/sets/empty": b"", "/sets/gr%C3%BCn?of=a%2Fb": b"green"}
        yield server


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return send


def test_a_file_is_read_by_range_over_one_connection(web: WebServer) -> None:
    file = open_url(f"{web.url}/sets/x.bin", [web.url])
    assert isinstance(file, WebFile)
    assert (file.size_bytes, file.name) == (len(DATA), f"{web.url}/sets/x.bin")
    assert (file.read(100, 1000), file.read(0, 0), file.read(len(DATA) - 3, 3)) == (DATA[100:1100], b"", DATA[-3:])
    assert web.requests == ["bytes=0-0", "bytes=100-1099", f"bytes={len(DATA) - 3}-{len(DATA) - 1}"]
    assert web.connections == 1


def test_an_empty_file(web: WebServer) -> None:
    assert WebFile(f"{web.url}/sets/empty").size_bytes == 0
    web.instead = answer(200)  # as some say that there is no range of nothing
    assert WebFile(f"{web.url}/sets/empty").size_bytes == 0


def test_paths_are_sent_as_they_are_meant(web: WebServer) -> None:
    assert WebFile(f"{web.url}/sets/grün?of=a%2Fb").read(0, 5) == b"green"


def test_threads_take_turns(web: WebServer) -> None:
    file = WebFile(f"{web.url}/sets/x.bin")
    found: dict[int, bytes] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: file.read(n, 50)})) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: DATA[n : n + 50] for n in range(5)}


def test_a_kept_connection_that_was_closed_is_made_anew(web: WebServer) -> None:
    def serve_and_close(request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True  # without saying so
        request._serve(DATA)  # type: ignore[attr-defined]

    web.instead = serve_and_close
    file = WebFile(f"{web.url}/sets/x.bin")
    assert [file.read(n, 2) for n in range(3)] == [DATA[n : n + 2] for n in range(3)]


@pytest.mark.parametrize(
    ("instead", "error", "told"),
    [
        (answer(200, b"all of it"), InvalidInputError, "the server does not serve parts of files"),
        (answer(302, Location="http://127.0.0.1/secret"), InvalidInputError, "the server redirects elsewhere"),
        (answer(403), InvalidInputError, "the server answers with status 403"),
        (answer(410), NotFoundError, "no such file"),
        (answer(429), UnavailableError, "status 429"),
        (answer(503), UnavailableError, "status 503"),
        (answer(206, b"x"), InvalidInputError, "the server does not tell its size"),
        (answer(206, b"x", Content_Range="bytes 0-0/*"), InvalidInputError, "the server does not tell its size"),
        (lambda request: request.wfile.write(b"nonsense\r\n\r\n"), UnavailableError, "the server does not answer"),
    ],
)
def test_other_answers_are_told(web: WebServer, instead: Answer, error: type[ModelyardError], told: str) -> None:
    file = WebFile(f"{web.url}/sets/x.bin")
    web.instead = instead
    with pytest.raises(error, match=rf"/sets/x\.bin: .*{told}"):
        WebFile(f"{web.url}/sets/x.bin")
    with pytest.raises(error, match=rf"/sets/x\.bin: .*{told}"):
        file.read(0, 1)
    web.instead = None
    assert file.read(5, 5) == DATA[5:10]


def test_a_file_that_changes_is_recognised(web: WebServer) -> None:
    url = f"{web.url}/sets/x.bin"
    file = WebFile(url)
    stamp = stamp_of(file)
    assert open_url(url, [web.url], stamp).size_bytes == len(DATA)  # type: ignore[union-attr]
    web.files["/sets/x.bin"] = DATA[::-1]
    with pytest.raises(
        InvalidInputError, match=rf"/x\.bin: has changed while it was read, from {stamp} to {len(DATA)} "
    ):
        file.read(0, 5)
    with pytest.raises(InvalidInputError, match=rf"has changed since its rows were counted: expected {stamp}, got "):
        open_url(url, [web.url], stamp)
    web.files["/sets/x.bin"] = b""
    with pytest.raises(InvalidInputError, match="has changed while it was read"):
        file.read(0, 5)


def test_a_server_that_breaks_off_or_says_nothing_is_away(web: WebServer) -> None:
    file = WebFile(f"{web.url}/sets/x.bin", timeout_s=0.3)

    def break_off(request: BaseHTTPRequestHandler) -> None:
        answer(206, b"12", Content_Length="5", Content_Range=f"bytes 0-4/{len(DATA)}", ETag=file.stamp.split()[1])(
            request
        )
        request.close_connection = True

    web.instead = break_off
    with pytest.raises(UnavailableError, match="expected 5 bytes, got 2: the server broke off"):
        file.read(0, 5)
    ends = threading.Event()

    def say_nothing(_: BaseHTTPRequestHandler) -> None:
        ends.wait(30)

    web.instead = say_nothing
    try:
        with pytest.raises(UnavailableError, match="the server does not answer: timed out"):
            file.read(0, 5)
    finally:
        ends.set()


def test_nobody_there() -> None:
    with serving() as server:
        url = server.url
    with pytest.raises(UnavailableError, match="the server does not answer"):
        open_url(f"{url}/x.npy", [url])
    with pytest.raises(InvalidInputError, match="expected host or host:port"):
        WebFile("http://host:port/x")
