"""Calls whose tensors lie in system shared memory of clients on this host: inputs are taken from it, outputs put there.

The extension is described in Triton's docs/protocol/extension_shared_memory.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.deployment import Region
from modelyard.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from modelyard.oip import messages
from modelyard.oip.parameters import Parameters, read_integer, read_text
from modelyard.oip.regions import MAX_BYTES, Place, Regions, checked
from modelyard.oip.streaming import Infer
from modelyard.oip.tensors import from_contents, parse_request, to_raw
from modelyard.oip.wire import without_tensors
from modelyard.rpc.channel import MAX_MESSAGE_BYTES

REGION, BYTE_SIZE, OFFSET = "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"
MAX_INPUT_BYTES = MAX_MESSAGE_BYTES - 1024
"""So much is taken from regions for one call: what still fits into a message to a runner."""
NO_CUDA = "CUDA shared memory: not offered; register system shared memory instead"
_REGION = REGION.encode()


class SharedMemory:
    """Registers regions, and executes calls whose tensors lie in them."""

    def __init__(self, regions: Regions) -> None:
        self._regions = regions

    async def register(
        self, request: messages.SystemSharedMemoryRegisterRequest
    ) -> messages.SystemSharedMemoryRegisterResponse:
        """Make a region known by its name; again with the same values changes nothing.

        Raises:
            InvalidInputError: its key cannot be opened, or it is smaller than is said.
            AlreadyExistsError: the name is taken by another.
        """
        region = checked(Region(request.name, request.key, request.offset, request.byte_size))
        known = await self._regions.add(region)
        if known != region:
            raise AlreadyExistsError(
                f"shared memory region {region.name!r}: already registered with key {known.key!r}, offset "
                f"{known.offset}, byte_size {known.size_bytes}; unregister it first"
            )
        return messages.SystemSharedMemoryRegisterResponse()

    async def status(
        self, request: messages.SystemSharedMemoryStatusRequest
    ) -> messages.SystemSharedMemoryStatusResponse:
        """Return the registered regions, or one by its name; raise NotFoundError if it is not registered."""
        regions = await self._regions.all()
        if request.name and request.name not in regions:
            raise NotFoundError(_unknown(request.name))
        response = messages.SystemSharedMemoryStatusResponse()
        for name in [request.name] if request.name else regions:
            found = regions[name]
            kept = response.regions[name]
            kept.name, kept.key, kept.offset, kept.byte_size = name, found.key, found.offset, found.size_bytes
        return response

    async def unregister(
        self, request: messages.SystemSharedMemoryUnregisterRequest
    ) -> messages.SystemSharedMemoryUnregisterResponse:
        """Forget a region, or all where none is named. One that is not registered is forgotten already."""
        await self._regions.remove(request.name)
        return messages.SystemSharedMemoryUnregisterResponse()

    async def infer(self, execute: Infer, request: bytes, timeout_s: float | None) -> bytes:
        """Execute a call: `execute` gets the request with what lies in regions; outputs are put where they shall lie.

        Raises:
            InvalidInputError: a region is unknown or too small, or an offset lies beyond its end, or the inputs have
                more than MAX_INPUT_BYTES in all.
            ModelyardError: what `execute` raises.
        """
        if _REGION not in without_tensors(request):
            return await execute(request, timeout_s)
        parsed = parse_request(request)
        inputs = {t.name: p for t in parsed.inputs if (p := await self._place(f"input {t.name!r}", t.parameters))}
        outputs = {t.name: p for t in parsed.outputs if (p := await self._place(f"output {t.name!r}", t.parameters))}
        _fill(parsed, inputs)
        response = await execute(parsed.SerializeToString(), timeout_s)
        return _deliver(response, outputs) if outputs else response

    async def _place(self, owner: str, parameters: Parameters) -> Place | None:
        name = read_text(parameters, REGION, f"{owner}: ")
        if not name:
            return None
        size_bytes = read_integer(parameters, BYTE_SIZE, 0, MAX_BYTES, f"{owner}: ")
        if size_bytes is None:
            raise InvalidInputError(f"{owner}: expected parameter {BYTE_SIZE!r} beside {REGION!r}, got none")
        offset = read_integer(parameters, OFFSET, 0, MAX_BYTES, f"{owner}: ") or 0
        region = await self._regions.find(name)
        if region is None:
            raise InvalidInputError(f"{owner}: {_unknown(name)}")
        if offset + size_bytes > region.size_bytes:
            raise InvalidInputError(
                f"{owner}: expected at most {region.size_bytes} bytes of shared memory region {name!r}, got {OFFSET} "
                f"{offset} and {BYTE_SIZE} {size_bytes}"
            )
        return Place(owner, region, offset, size_bytes)


def _fill(request: messages.ModelInferRequest, places: Mapping[str, Place]) -> None:
    """Put the tensors of regions into the request's raw contents, beside those that are there, and forget where."""
    size_bytes = sum(places[tensor.name].size_bytes for tensor in request.inputs if tensor.name in places)
    if size_bytes > MAX_INPUT_BYTES:
        raise InvalidInputError(
            f"inputs in shared memory: expected at most {MAX_INPUT_BYTES} bytes in all, got {size_bytes}"
        )
    given = list(request.raw_input_contents)
    raw: list[bytes] = []
    for tensor in request.inputs:
        place = places.get(tensor.name)
        if place is None:
            raw.append(given.pop(0) if given else _typed(tensor))
        elif tensor.HasField("contents"):
            raise InvalidInputError(f"{place.owner}: expected contents or a shared memory region, got both")
        else:
            raw.append(place.read())
        _forget(tensor.parameters)
    if given:
        expected = len(request.raw_input_contents) - len(given)
        raise InvalidInputError(
            f"raw_input_contents: expected {expected} entries for the inputs that lie in no shared memory region, got "
            f"{len(request.raw_input_contents)}"
        )
    request.raw_input_contents[:] = raw
    for tensor in request.inputs:
        tensor.ClearField("contents")
    for output in request.outputs:
        _forget(output.parameters)


def _typed(tensor: messages.ModelInferRequest.InferInputTensor) -> bytes:
    return to_raw(from_contents(tensor.name, tensor.datatype, tensor.shape, tensor.contents), tensor.datatype)


def _forget(parameters: Parameters) -> None:
    for name in (REGION, BYTE_SIZE, OFFSET):
        if name in parameters:
            del parameters[name]  # type: ignore[attr-defined]


def _deliver(data: bytes, places: Mapping[str, Place]) -> bytes:
    """Put outputs into their regions; of those the response says where they lie instead."""
    response = messages.ModelInferResponse.FromString(data)
    for index, tensor in enumerate(response.outputs):
        place = places.get(tensor.name)
        if place is not None:
            size_bytes = len(response.raw_output_contents[index])
            place.write(response.raw_output_contents[index])
            response.raw_output_contents[index] = b""
            tensor.parameters[REGION].string_param = place.region.name
            tensor.parameters[BYTE_SIZE].int64_param = size_bytes
            tensor.parameters[OFFSET].int64_param = place.offset
    return response.SerializeToString()


def _unknown(name: str) -> str:
    return f"shared memory region {name!r} is not registered"
