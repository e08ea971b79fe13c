"""moto's server, which speaks S3: a process of its own, empty at its start, on a free port."""

from __future__ import annotations

import asyncio
import sys
import urllib.error
import urllib.request
from pathlib import Path

from modelyard.local.ports import Port
from tests.servers import ProgramServer
from tests.waiting import eventually, wait_until

BUCKET = "models"
URL = f"s3://{BUCKET}/yard"


class S3Server(ProgramServer):
    """An S3 with one bucket, once it is ready."""

    def __init__(self, directory: Path) -> None:
        port = Port()
        directory.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port.number)]
        super().__init__(command, [port], directory / "s3.log", _answers)

    @property
    def environ(self) -> dict[str, str]:
        """The variables by which its clients know it."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.endpoint}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def make_bucket(self) -> None:
        """Wait until it answers, and has its bucket."""
        wait_until(lambda: _has_bucket(self.endpoint))

    async def empty(self) -> None:
        """Forget everything but the bucket."""
        await self.call("POST", "moto-api/reset")
        await self.wait_ready()

    async def call(self, method: str, path: str, data: bytes | None = None) -> bytes:
        """An HTTP request, unsigned."""
        return await asyncio.to_thread(_call, f"http://{self.endpoint}/{path}", method, data)

    async def refuse_all(self) -> None:
        """From now on ask for credentials that nobody has."""
        await self.call("POST", "moto-api/reset-auth", b"0")


def _call(url: str, method: str, data: bytes | None) -> bytes:
    request = urllib.request.Request(url, data, {"Content-Type": "application/octet-stream"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


async def _answers(address: str) -> None:
    await eventually(lambda: asyncio.to_thread(_has_bucket, address))


def _has_bucket(address: str) -> bool:
    try:
        _call(f"http://{address}/{BUCKET}", "PUT", None)
    except urllib.error.URLError:
        return False
    return True
