"""What an upload reads and how it ends when a file changes under it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard import chunks
from modelyard.aio import Client
from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.errors import DataLossError
from modelyard.results import Progress
from modelyard.sdk.upload import BLOCK_BYTES, FAR_PIECE_BYTES, FAR_S, PIECE_BYTES, Pace, read_blocks
from tests.unit.fakes import FakeSuite

DATA = bytes(range(256)) * ((CHUNK_SIZE_BYTES + 4 * PIECE_BYTES) // 256) + b"end"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "net.onnx"
    found.write_bytes(DATA)
    return found


def test_a_chunk_is_read_in_pieces_a_block_at_a_time(path: Path) -> None:
    (file,) = chunks.scan(path).files
    first, last = chunks.chunks_of(file)
    blocks = list(read_blocks(path.parent, first))
    assert [sum(map(len, block)) for block in blocks] == [BLOCK_BYTES] * (CHUNK_SIZE_BYTES // BLOCK_BYTES)
    assert {len(piece) for block in blocks for piece in block} == {PIECE_BYTES}
    assert b"".join(piece for block in blocks for piece in block) == DATA[:CHUNK_SIZE_BYTES]
    assert b"".join(piece for block in read_blocks(path.parent, last) for piece in block) == DATA[CHUNK_SIZE_BYTES:]


def test_messages_are_small_unless_each_takes_a_round_trip() -> None:
    pace = Pace()
    assert pace.piece_bytes == PIECE_BYTES
    pace.note(8 * PIECE_BYTES, 8 * FAR_S * 0.9)
    assert pace.piece_bytes == PIECE_BYTES
    pace.note(8 * PIECE_BYTES, 8 * FAR_S * 1.1)
    assert pace.piece_bytes == FAR_PIECE_BYTES
    pace.note(2 * FAR_PIECE_BYTES, 2 * FAR_S * 1.1)
    assert pace.piece_bytes == FAR_PIECE_BYTES
    pace.note(2 * FAR_PIECE_BYTES, 2 * FAR_S * 0.9)
    assert pace.piece_bytes == PIECE_BYTES


def changed_when_read(path: Path, change: Callable[[], object]) -> Callable[[Progress], None]:
    def look(progress: Progress) -> None:
        if progress.stage == "send" and not progress.done_bytes:
            change()

    return look


CHANGES: dict[str, Callable[[Path], object]] = {
    "was removed": lambda path: path.unlink(),
    "shorter: changed": lambda path: path.write_bytes(DATA[:1000]),
    "empty: changed": lambda path: path.write_bytes(b""),
    "another byte: changed": lambda path: path.write_bytes(b"!" + DATA[1:]),
}


@pytest.mark.parametrize("kind", CHANGES)
async def test_a_file_that_changes_after_it_was_scanned(
    fakes: FakeSuite, client: Client, path: Path, kind: str
) -> None:
    said = kind.rpartition(": ")[2]
    with pytest.raises(DataLossError, match=f"net.onnx: {said} while it was being read"):
        await client.push("digits", path, progress=changed_when_read(path, lambda: CHANGES[kind](path)))
    assert not fakes.registry.versions


async def test_what_the_registry_refuses_although_the_file_is_the_same(
    fakes: FakeSuite, client: Client, path: Path
) -> None:
    fakes.registry.failures["chunk"] = [DataLossError("the disk is bad")]
    with pytest.raises(DataLossError, match="the disk is bad"):
        await client.push("digits", path)
