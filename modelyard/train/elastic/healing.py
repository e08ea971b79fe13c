"""A state goes from one rank of a group to the others: JSON and raw tensors, in pieces of bounded size, with a digest.

All ranks take part, as it is broadcast; those that have it throw away what comes. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch

from modelyard.errors import InvalidInputError
from modelyard.train.checkpoint.structure import State, put_together, take_apart
from modelyard.train.elastic.group import Group

PIECE_BYTES = 16 << 20
_DIGEST_BYTES = 32


def give(group: Group, state: State, piece_bytes: int = PIECE_BYTES) -> None:
    """Send this rank's state to all others, which `take` it.

    Raises:
        GroupLost: the group's.
        InvalidInputError: something else than tensors, numbers, texts and None is in it.
    """
    tensors, structure = take_apart(state)
    kinds = [[key, str(value.dtype).removeprefix("torch."), list(value.shape)] for key, value in tensors.items()]
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    header = bytearray(json.dumps({"structure": structure, "tensors": kinds, "bytes": size}).encode())
    group.broadcast(torch.tensor([len(header)], dtype=torch.int64), group.rank)
    passage = _Passage(group, group.rank, piece_bytes)
    passage.send([torch.frombuffer(header, dtype=torch.uint8)])
    group.broadcast(passage.digest(), group.rank)
    passage.send([_bytes(value, key) for key, value in tensors.items()])
    group.broadcast(passage.digest(), group.rank)


def take(group: Group, source: int, piece_bytes: int = PIECE_BYTES) -> dict[str, Any]:
    """Return the state of another rank, which gives it: tensors on the CPU.

    Raises:
        GroupLost: the group's, or what came was not what had been sent.
    """
    passage = _Passage(group, source, piece_bytes)
    header = _header(group, passage, source)
    tensors = {key: torch.empty(shape, dtype=getattr(torch, dtype)) for key, dtype, shape in header["tensors"]}
    passage.receive([_bytes(value, key) for key, value in tensors.items()])
    _compare(group, passage, source)
    found: dict[str, Any] = put_together(header["structure"], tensors)
    return found


def pass_over(group: Group, source: int, piece_bytes: int = PIECE_BYTES) -> None:
    """Take part where another rank gives what this one has: it keeps nothing of it.

    Raises:
        GroupLost: as `take`.
    """
    passage = _Passage(group, source, piece_bytes)
    passage.skip(_header(group, passage, source)["bytes"])
    _compare(group, passage, source)


def _header(group: Group, passage: _Passage, source: int) -> dict[str, Any]:
    size = torch.zeros(1, dtype=torch.int64)
    group.broadcast(size, source)
    text = torch.empty(int(size), dtype=torch.uint8)
    passage.receive([text])
    _compare(group, passage, source)  # before it is read
    read: dict[str, Any] = json.loads(text.numpy().tobytes())
    return read


def _compare(group: Group, passage: _Passage, source: int) -> None:
    expected = torch.empty(_DIGEST_BYTES, dtype=torch.uint8)
    group.broadcast(expected, source)
    if not torch.equal(expected, passage.digest()):
        group.lose(f"the state of rank {source} came with another digest than was sent")
    group.check()


class _Passage:
    """Bytes from one rank to all, in pieces, and their digest."""

    def __init__(self, group: Group, source: int, piece_bytes: int) -> None:
        self._group = group
        self._source = source
        self._piece_bytes = piece_bytes
        self._hash = hashlib.blake2b(digest_size=_DIGEST_BYTES)

    def send(self, parts: list[torch.Tensor]) -> None:
        for piece in _pieces(parts, self._piece_bytes):
            self._pass(torch.cat(piece))

    def receive(self, parts: list[torch.Tensor]) -> None:
        for piece in _pieces(parts, self._piece_bytes):
            sizes = [len(part) for part in piece]
            received = self._pass(torch.empty(sum(sizes), dtype=torch.uint8))
            for part, values in zip(piece, torch.split(received, sizes), strict=True):
                part.copy_(values)

    def skip(self, size: int) -> None:
        for begin in range(0, size, self._piece_bytes):
            self._pass(torch.empty(min(self._piece_bytes, size - begin), dtype=torch.uint8))

    def _pass(self, piece: torch.Tensor) -> torch.Tensor:
        self._group.broadcast(piece, self._source)
        self._hash.update(piece.numpy().data)
        return piece

    def digest(self) -> torch.Tensor:
        """Of all that went over, UINT8 [32]."""
        return torch.frombuffer(bytearray(self._hash.digest()), dtype=torch.uint8)


def _pieces(parts: list[torch.Tensor], limit: int) -> Iterator[list[torch.Tensor]]:
    """Cut parts, and put together what is small: slices, which have at most `limit` bytes together."""
    piece: list[torch.Tensor] = []
    room = limit
    for part in parts:
        rest = part
        while len(rest):
            piece.append(rest[:room])
            rest, room = rest[room:], room - len(piece[-1])
            if not room:
                yield piece
                piece, room = [], limit
    if piece:
        yield piece


def _bytes(tensor: torch.Tensor, key: str) -> torch.Tensor:
    """The memory of a tensor, UINT8 [n]; of one that is contiguous on the CPU itself, of others a copy."""
    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise InvalidInputError(f"state: {key}: expected a dense tensor, got one of {tensor.layout}")
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
