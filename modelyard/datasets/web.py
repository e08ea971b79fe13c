"""Files on web servers, read by range. Redirects are not followed: they could lead anywhere, past what is allowed."""

from __future__ import annotations

import http.client
import re
import threading
from urllib.parse import quote, urlsplit

from modelyard.datasets.allowed import shown
from modelyard.errors import InvalidInputError, ModelyardError, NotFoundError, UnavailableError

TIMEOUT_S = 30.0
"""A server that sends nothing for so long is away."""
_TARGET_CHARACTERS = "%/:=&?~+!$,;'@()*[]"
_PASSING = {408, 425, 429}
_RANGE = re.compile(r"bytes (?:([0-9]+)-[0-9]+|\*)/([0-9]+)")


class WebFile:
    """A file at an http or https URL. Its connection is kept; threads take turns.

    Attributes:
        stamp: its size and the server's word for its content, which is another one when the file has changed.
    """

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        """Ask for its size.

        Raises:
            NotFoundError: there is no such file.
            InvalidInputError: the server refuses it, redirects, or does not serve ranges.
            UnavailableError: the server does not answer.
        """
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme.lower() == "https" else http.client.HTTPConnection
        self.name = shown(url)
        self._target = quote(parts.path or "/", safe=_TARGET_CHARACTERS)
        if parts.query:
            self._target += "?" + quote(parts.query, safe=_TARGET_CHARACTERS)
        self._lock = threading.Lock()
        try:
            self._connection = kind(parts.netloc, timeout=timeout_s)
        except (http.client.HTTPException, ValueError) as error:
            raise InvalidInputError(f"{self.name}: expected host or host:port in the URL: {error}") from error
        with self._lock:
            self.size_bytes, self.stamp = self._look()

    def read(self, offset: int, length: int) -> bytes:
        """As Source says.

        Raises:
            InvalidInputError: the file has changed since it was opened.
        """
        if not length:
            return b""
        with self._lock:
            answer = self._ask(offset, length)
            if answer.status not in {206, 416}:
                raise self._refusal(answer)
            size_bytes, stamp = self._described(answer)
            if stamp != self.stamp or answer.status == 416:
                self._connection.close()
                raise InvalidInputError(f"{self.name}: has changed while it was read, from {self.stamp} to {stamp}")
            return self._body(answer, min(length, size_bytes - offset), length)

    def _look(self) -> tuple[int, str]:
        """Size and stamp. The first byte is asked for: not every server, or signed URL, knows HEAD."""
        answer = self._ask(0, 1)
        empty = answer.status == 200 and answer.headers.get("Content-Length") == "0"
        if not empty and answer.status not in {206, 416}:
            raise self._refusal(answer)
        size_bytes, stamp = (0, _stamp(0, answer)) if empty else self._described(answer)
        if answer.status == 416 and size_bytes:
            raise self._refusal(answer)
        self._finish(answer)
        return size_bytes, stamp

    def _ask(self, offset: int, length: int) -> http.client.HTTPResponse:
        headers = {"Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"}
        try:
            return self._sent(headers)
        except (http.client.RemoteDisconnected, ConnectionError):
            self._connection.close()  # it was kept for too long, perhaps
        except http.client.InvalidURL as error:
            raise InvalidInputError(f"{self.name}: cannot be read: {error}") from error
        except (http.client.HTTPException, OSError) as error:
            raise self._away(error) from error
        try:
            return self._sent(headers)
        except (http.client.HTTPException, OSError) as error:
            raise self._away(error) from error

    def _sent(self, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._connection.request("GET", self._target, headers=headers)
        return self._connection.getresponse()

    def _away(self, error: Exception) -> UnavailableError:
        self._connection.close()
        return UnavailableError(f"{self.name}: the server does not answer: {error}")

    def _described(self, answer: http.client.HTTPResponse) -> tuple[int, str]:
        """Size and stamp by an answer that gives a range."""
        found = _RANGE.match(answer.headers.get("Content-Range", ""))
        if found is None:
            self._connection.close()
            raise InvalidInputError(f"{self.name}: the server does not tell its size, so it cannot be read by range")
        return int(found[2]), _stamp(int(found[2]), answer)

    def _body(self, answer: http.client.HTTPResponse, length: int, wanted: int) -> bytes:
        try:
            data = answer.read(length)
        except (http.client.HTTPException, OSError) as error:
            raise self._away(error) from error
        self._finish(answer)
        if len(data) != wanted:
            raise UnavailableError(f"{self.name}: expected {wanted} bytes, got {len(data)}: the server broke off")
        return data

    def _finish(self, answer: http.client.HTTPResponse) -> None:
        """Keep the connection only if nothing more is coming."""
        try:
            answer.read(1)
        except (http.client.HTTPException, OSError):
            self._connection.close()
        if not answer.isclosed():
            self._connection.close()

    def _refusal(self, answer: http.client.HTTPResponse) -> ModelyardError:
        self._connection.close()
        status = answer.status
        if status in {404, 410}:
            return NotFoundError(f"{self.name}: no such file")
        if status in _PASSING or status >= 500:
            return UnavailableError(f"{self.name}: the server does not answer: status {status}")
        if status == 200:
            return InvalidInputError(f"{self.name}: the server does not serve parts of files (HTTP ranges)")
        if 300 <= status < 400:
            return InvalidInputError(f"{self.name}: the server redirects elsewhere, which is not followed")
        return InvalidInputError(f"{self.name}: cannot be read: the server answers with status {status}")


def _stamp(size_bytes: int, answer: http.client.HTTPResponse) -> str:
    version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    return f"{size_bytes} {version}"[:300].rstrip()
