"""The health check of our images, as an engine runs it: a process, its exit status and its line."""

from __future__ import annotations

import asyncio
import sys

import pytest

from modelyard.local.ports import Port
from modelyard.rpc.server import Server


async def check(*arguments: str) -> tuple[int | None, str]:
    """Run the health check; return its exit status and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "modelyard.health",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_a_server_is_healthy_while_it_serves() -> None:
    server = Server("test")
    address = await server.start("127.0.0.1:0")
    assert await check(address) == (0, f"{address}: SERVING\n")
    server.set_serving(False)
    status, line = await check(address)
    assert (status, line) == (1, f"{address} answers NOT_SERVING\n")
    await server.stop(0)


async def test_nobody_there_is_unhealthy() -> None:
    port = Port()
    status, output = await check(port.address, "--timeout-s", "1")
    port.release()
    assert status == 1
    assert output.startswith(f"no answer from {port.address}: ")
    assert output.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["127.0.0.1:1", "--timeout-s", "soon"]])
async def test_a_wrong_call_says_how_it_is_used(arguments: list[str]) -> None:
    status, output = await check(*arguments)
    assert status == 2
    assert "usage: python -m modelyard.health" in output
