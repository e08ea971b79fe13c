from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.aio import Client
from modelyard.errors import DataLossError, InvalidInputError, NotFoundError, UnavailableError
from tests.unit.fakes import FakeSuite

DATA = b"not looked into"


@pytest.fixture(autouse=True)
async def digits(client: Client, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(DATA)
    await client.push("digits", tmp_path / "net.onnx", alias="prod")


async def read(
    client: Client, name: str, path: str, *, version: str = "", offset: int = 0, length: int | None = None
) -> bytes:
    reading = client.read_file(name, path, version=version, offset=offset, length=length)
    return b"".join([data async for data in reading])


async def test_a_file_is_read_whole_or_in_part(fakes: FakeSuite, client: Client) -> None:
    assert await read(client, "digits", "net.onnx") == DATA
    assert await read(client, "digits@1", "net.onnx", offset=4) == DATA[4:]
    assert await read(client, "digits", "net.onnx", version="1", offset=4, length=6) == b"looked"
    assert await read(client, "digits", "net.onnx", length=0) == b""
    with pytest.raises(NotFoundError, match=r"no file 'absent\.bin'"):
        await read(client, "digits", "absent.bin")
    with pytest.raises(NotFoundError, match="no version or alias 'absent'"):
        await read(client, "digits@absent", "net.onnx")
    for offset, length in ((-1, None), (0, -1)):
        with pytest.raises(InvalidInputError, match="of at least 0"):
            await read(client, "digits", "net.onnx", offset=offset, length=length)


async def test_an_alias_may_move_meanwhile(fakes: FakeSuite, client: Client) -> None:
    await read(client, "digits@prod", "net.onnx")
    assert fakes.registry.requests[-1].version == "1"


@pytest.mark.parametrize("length", [None, 10])
async def test_a_stream_that_breaks_goes_on_where_it_was(fakes: FakeSuite, client: Client, length: int | None) -> None:
    fakes.registry.failures["ReadFile"] = [UnavailableError("away", retry_after_s=0.01)]
    fakes.registry.failures["sent"] = [UnavailableError("away", retry_after_s=0.01) for _ in range(2)]
    assert await read(client, "digits", "net.onnx", offset=1, length=length) == DATA[1:][:length]
    asked = [(r.offset, r.length) for r in fakes.registry.requests[-3:]]
    assert asked == [(1 + n, length - n if length else 0) for n in range(3)]


async def test_other_failures_are_the_readers(fakes: FakeSuite, client: Client) -> None:
    fakes.registry.failures["sent"] = [DataLossError("another sha256")]
    with pytest.raises(DataLossError, match="another sha256"):
        await read(client, "digits", "net.onnx")


async def test_a_reader_may_leave_early(client: Client) -> None:
    reading = client.read_file("digits", "net.onnx")
    assert await anext(reading) == b"n"
    await reading.aclose()
    assert (await client.manifest("digits")).size_bytes == len(DATA)


async def test_garbage_is_collected_once(fakes: FakeSuite, client: Client) -> None:
    fakes.registry.collected.removed_bytes = 3 << 30
    fakes.registry.collected.purged.append("digits@7")
    found = await client.collect_garbage(dry_run=True)
    assert (found.removed_bytes, found.purged) == (3 << 30, ("digits@7",))
    assert fakes.registry.requests[-1].dry_run
    fakes.registry.failures["CollectGarbage"] = [UnavailableError("another collection", retry_after_s=0.01)]
    with pytest.raises(UnavailableError, match="another collection"):
        await client.collect_garbage()


async def test_what_no_message_can_hold_is_refused_by_name(client: Client) -> None:
    with pytest.raises(InvalidInputError, match="offset: expected an integer of at most 64 bits, got 1000"):
        await read(client, "digits", "net.onnx", offset=10**20)
    with pytest.raises(InvalidInputError, match="path: expected text that UTF-8 can encode"):
        await read(client, "digits", "\udcff")


async def test_what_uploads_hold_goes_where_that_is_asked_for(fakes: FakeSuite, client: Client) -> None:
    await client.collect_garbage()
    assert not fakes.registry.requests[-1].uploads
    await client.collect_garbage(uploads=True)
    assert fakes.registry.requests[-1].uploads
