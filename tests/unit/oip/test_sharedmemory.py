from __future__ import annotations

import os
import resource
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelyard.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from modelyard.oip import messages, sharedmemory
from modelyard.oip.regions import LocalRegions
from modelyard.oip.sharedmemory import SharedMemory

SHARED_MEMORY = Path("/dev/shm")
SIZE = 64


@pytest.fixture
def key() -> Iterator[str]:
    """The key of shared memory of SIZE bytes: 0, 1, 2, ..."""
    name = f"modelyard-test-{uuid.uuid4().hex}"
    (SHARED_MEMORY / name).write_bytes(bytes(range(SIZE)))
    yield f"/{name}"
    (SHARED_MEMORY / name).unlink(missing_ok=True)


def content(key: str) -> bytes:
    return (SHARED_MEMORY / key[1:]).read_bytes()


Registration = messages.SystemSharedMemoryRegisterRequest


def registration(key: str, name: str = "r", offset: int = 0, size: int = SIZE) -> Registration:
    return Registration(name=name, key=key, offset=offset, byte_size=size)


@pytest.fixture
async def memory(key: str) -> SharedMemory:
    """With the region `r`."""
    made = SharedMemory(LocalRegions())
    await made.register(registration(key))
    return made


class Call:
    """A request whose tensors may lie in regions, and the executor that it reaches: it returns its inputs."""

    def __init__(self) -> None:
        self.request = messages.ModelInferRequest(model_name="m", id="1")
        self.reached: messages.ModelInferRequest | None = None

    def input(self, name: str, region: str = "", size: int = 4, offset: int = 0) -> Call:
        tensor = self.request.inputs.add(name=name, datatype="UINT8", shape=[size])
        self._lie(tensor, region, size, offset)
        return self

    def output(self, name: str, region: str = "", size: int = 4, offset: int = 0) -> Call:
        self._lie(self.request.outputs.add(name=name), region, size, offset)
        return self

    def _lie(self, tensor: object, region: str, size: int, offset: int) -> None:
        parameters = tensor.parameters  # type: ignore[attr-defined]
        if region:
            parameters["shared_memory_region"].string_param = region
            parameters["shared_memory_byte_size"].int64_param = size
            if offset:
                parameters["shared_memory_offset"].int64_param = offset

    async def execute(self, data: bytes, timeout_s: float | None) -> bytes:
        self.reached = messages.ModelInferRequest.FromString(data)
        response = messages.ModelInferResponse(model_name="m", id=self.reached.id)
        for tensor, raw in zip(self.reached.inputs, self.reached.raw_input_contents, strict=True):
            response.outputs.add(name=tensor.name, datatype="UINT8", shape=tensor.shape)
            response.raw_output_contents.append(raw)
        return response.SerializeToString()

    async def through(self, memory: SharedMemory) -> messages.ModelInferResponse:
        answer = await memory.infer(self.execute, self.request.SerializeToString(), 1.0)
        return messages.ModelInferResponse.FromString(answer)

    async def refusal(self, memory: SharedMemory) -> str:
        with pytest.raises(InvalidInputError) as refused:
            await self.through(memory)
        return refused.value.message


async def test_a_call_without_regions_passes_as_it_is(memory: SharedMemory) -> None:
    given = messages.ModelInferRequest(model_name="m").SerializeToString()

    async def execute(data: bytes, timeout_s: float | None) -> bytes:
        assert data is given
        return b"answer"

    assert await memory.infer(execute, given, None) == b"answer"


async def test_inputs_are_taken_from_a_region(memory: SharedMemory) -> None:
    call = Call().input("x", "r", 4, 8)
    answer = await call.through(memory)
    assert list(answer.raw_output_contents) == [bytes([8, 9, 10, 11])]
    assert call.reached is not None
    assert not call.reached.inputs[0].parameters


async def test_offsets_are_those_of_the_region_and_of_the_tensor(memory: SharedMemory, key: str) -> None:
    await memory.register(registration(key, "part", offset=32, size=16))
    answer = await Call().input("x", "part", 2, 14).through(memory)
    assert list(answer.raw_output_contents) == [bytes([46, 47])]


async def test_regions_and_raw_contents_in_one_request(memory: SharedMemory) -> None:
    call = Call().input("a").input("b", "r").input("c")
    call.request.raw_input_contents.extend([b"aaaa", b"cccc"])
    answer = await call.through(memory)
    assert list(answer.raw_output_contents) == [b"aaaa", bytes([0, 1, 2, 3]), b"cccc"]


async def test_regions_and_typed_contents_in_one_request(memory: SharedMemory) -> None:
    call = Call().input("a").input("b", "r")
    call.request.inputs[0].contents.uint_contents.extend([7, 7, 7, 7])
    answer = await call.through(memory)
    assert list(answer.raw_output_contents) == [bytes([7] * 4), bytes([0, 1, 2, 3])]


async def test_outputs_are_put_into_a_region(memory: SharedMemory, key: str) -> None:
    answer = await Call().input("y", "r", 4, 8).output("y", "r", 10, 50).through(memory)
    assert content(key)[48:56] == bytes([48, 49, 8, 9, 10, 11, 54, 55])
    assert list(answer.raw_output_contents) == [b""]
    said = answer.outputs[0].parameters
    assert said["shared_memory_region"].string_param == "r"
    assert [said[f"shared_memory_{n}"].int64_param for n in ("byte_size", "offset")] == [4, 50]


async def test_an_output_of_another_name_is_left_alone(memory: SharedMemory) -> None:
    answer = await Call().input("y", "r").output("z", "r").through(memory)
    assert list(answer.raw_output_contents) == [bytes([0, 1, 2, 3])]


async def test_an_unknown_region(memory: SharedMemory) -> None:
    assert await Call().input("x", "no").refusal(memory) == "input 'x': shared memory region 'no' is not registered"
    assert (await Call().output("y", "no").refusal(memory)).startswith("output 'y': shared memory region 'no'")


async def test_a_tensor_beyond_the_end_of_its_region(memory: SharedMemory) -> None:
    said = await Call().input("x", "r", 4, 61).refusal(memory)
    assert said == (
        "input 'x': expected at most 64 bytes of shared memory region 'r', got shared_memory_offset 61 and "
        "shared_memory_byte_size 4"
    )


async def test_an_output_that_does_not_fit(memory: SharedMemory, key: str) -> None:
    said = await Call().input("y", "r", 8).output("y", "r", 7).refusal(memory)
    assert said == "output 'y': expected at least 8 bytes in shared memory region 'r', got 7"
    assert content(key) == bytes(range(SIZE))


async def test_a_region_without_a_size(memory: SharedMemory) -> None:
    call = Call().input("x", "r")
    del call.request.inputs[0].parameters["shared_memory_byte_size"]
    assert "expected parameter 'shared_memory_byte_size'" in await call.refusal(memory)


@pytest.mark.parametrize("name", ["shared_memory_byte_size", "shared_memory_offset"])
async def test_sizes_and_offsets_that_are_none(memory: SharedMemory, name: str) -> None:
    call = Call().input("x", "r")
    call.request.inputs[0].parameters[name].int64_param = -1
    assert f"input 'x': parameter '{name}': expected an integer from 0" in await call.refusal(memory)
    call.request.inputs[0].parameters[name].string_param = "4"
    assert f"input 'x': parameter '{name}': expected an integer, got string_param '4'" in await call.refusal(memory)


async def test_a_region_and_contents_for_one_tensor(memory: SharedMemory) -> None:
    call = Call().input("x", "r")
    call.request.inputs[0].contents.uint_contents.append(1)
    assert "'x': expected contents or a shared memory region, got both" in await call.refusal(memory)


async def test_too_many_raw_contents(memory: SharedMemory) -> None:
    call = Call().input("x", "r")
    call.request.raw_input_contents.append(b"1234")
    assert await call.refusal(memory) == (
        "raw_input_contents: expected 0 entries for the inputs that lie in no shared memory region, got 1"
    )


async def test_memory_that_its_client_shrinks_or_removes(memory: SharedMemory, key: str) -> None:
    (SHARED_MEMORY / key[1:]).write_bytes(b"short")
    refused = await Call().input("x", "r", 8).refusal(memory)
    assert refused.endswith(f"'r': expected at least 64 bytes in {key!a}, got 5")
    (SHARED_MEMORY / key[1:]).unlink()
    assert "expected the key of a shared memory object" in await Call().input("x", "r").refusal(memory)


async def test_registration_again(memory: SharedMemory, key: str) -> None:
    await memory.register(registration(key))
    with pytest.raises(AlreadyExistsError, match=r"region 'r': already registered with key .*byte_size 64; unregister"):
        await memory.register(registration(key, size=32))


@pytest.mark.parametrize(
    ("key_", "size", "offset", "said"),
    [
        ("", 64, 0, "expected the key"),
        ("/no-such-key", 64, 0, "expected the key of a shared memory object on this host, got '/no-such-key': No such"),
        ("/..", 64, 0, "expected the key"),
        ("/a/b", 64, 0, "expected the key"),
        ("/a\0b", 64, 0, "expected the key"),
        (None, 65, 0, "expected at least 65 bytes"),
        (None, 33, 32, "expected at least 65 bytes"),
        (None, 0, 0, "expected a byte_size from 1"),
        (None, 2**64 - 1, 0, "expected a byte_size from 1"),
        (None, 1, 2**64 - 1, "expected a byte_size from 1"),
    ],
)
async def test_refused_registrations(key: str, key_: str | None, size: int, offset: int, said: str) -> None:
    made = SharedMemory(LocalRegions())
    with pytest.raises(InvalidInputError, match="shared memory region 'r': ") as refused:
        await made.register(registration(key if key_ is None else key_, offset=offset, size=size))
    assert said in refused.value.message


@pytest.mark.parametrize("name", ["", "a/b", "x" * 121, "a\nb", "\0"])
async def test_refused_names(memory: SharedMemory, key: str, name: str) -> None:
    with pytest.raises(InvalidInputError, match="expected a name"):
        await memory.register(registration(key, name))


async def test_status(memory: SharedMemory, key: str) -> None:
    await memory.register(registration(key, "part", 8, 16))
    every = (await memory.status(messages.SystemSharedMemoryStatusRequest())).regions
    assert sorted(every) == ["part", "r"]
    one = (await memory.status(messages.SystemSharedMemoryStatusRequest(name="part"))).regions
    assert [(r.name, r.key, r.offset, r.byte_size) for r in one.values()] == [("part", key, 8, 16)]


async def test_unregistration(memory: SharedMemory, key: str) -> None:
    await memory.register(registration(key, "part"))
    await memory.unregister(messages.SystemSharedMemoryUnregisterRequest(name="part"))
    await memory.unregister(messages.SystemSharedMemoryUnregisterRequest(name="part"))
    with pytest.raises(NotFoundError, match="'part' is not registered"):
        await memory.status(messages.SystemSharedMemoryStatusRequest(name="part"))
    assert "not registered" in await Call().input("x", "part").refusal(memory)
    await memory.unregister(messages.SystemSharedMemoryUnregisterRequest())
    assert not (await memory.status(messages.SystemSharedMemoryStatusRequest())).regions
    assert np.array_equal(np.frombuffer(content(key), np.uint8), np.arange(SIZE))


async def test_no_more_is_read_than_a_message_can_hold(
    memory: SharedMemory, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharedmemory, "MAX_INPUT_BYTES", SIZE)
    assert (await Call().input("x", "r", 32).input("y", "r", 32).through(memory)).raw_output_contents[1]
    (SHARED_MEMORY / key[1:]).unlink()  # what is read now fails otherwise
    said = "inputs in shared memory: expected at most 64 bytes in all, got 65"
    assert await Call().input("x", "r", 32).input("y", "r", 33).refusal(memory) == said
    same = Call().input("x", "r", 33).input("x", "r", 33)
    assert await same.refusal(memory) == "inputs in shared memory: expected at most 64 bytes in all, got 66"


async def test_an_output_is_written_whole_whatever_the_kernel_takes_at_once(
    memory: SharedMemory, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: write(file, data[:3], offset))
    await Call().input("y", "r", 8, 40).output("y", "r", 8).through(memory)
    assert content(key)[:9] == bytes([*range(40, 48), 8])


async def test_an_output_for_which_there_is_no_room_left(memory: SharedMemory) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, limits[1]))  # as a full file system: a part fits
    try:
        said = await Call().input("y", "r", 8).output("y", "r", 8, 28).refusal(memory)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert said == "output 'y': shared memory region 'r' cannot be written to: File too large"
