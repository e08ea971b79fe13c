"""Those methods of inference.GRPCInferenceService that are the same at every server of the protocol."""

from __future__ import annotations

from typing import NoReturn

from modelyard.errors import UnimplementedError
from modelyard.oip import messages
from modelyard.oip.settings import Settings, change_log
from modelyard.oip.sharedmemory import NO_CUDA, SharedMemory
from modelyard.rpc.interceptor import Context


class ExtensionServicer:
    """Liveness, log settings, and system shared memory; CUDA's is not offered."""

    def __init__(self, shared_memory: SharedMemory, settings: Settings) -> None:
        self._shared_memory = shared_memory
        self._settings = settings

    async def ServerLive(self, request: messages.ServerLiveRequest, context: Context) -> messages.ServerLiveResponse:
        """Whether this process answers."""
        return messages.ServerLiveResponse(live=True)

    async def LogSettings(self, request: messages.LogSettingsRequest, context: Context) -> messages.LogSettingsResponse:
        """Change what this server logs; return all settings."""
        return await change_log(self._settings, request)

    async def SystemSharedMemoryRegister(
        self, request: messages.SystemSharedMemoryRegisterRequest, context: Context
    ) -> messages.SystemSharedMemoryRegisterResponse:
        """Make a region of shared memory on this host known by a name."""
        return await self._shared_memory.register(request)

    async def SystemSharedMemoryStatus(
        self, request: messages.SystemSharedMemoryStatusRequest, context: Context
    ) -> messages.SystemSharedMemoryStatusResponse:
        """The regions that are known."""
        return await self._shared_memory.status(request)

    async def SystemSharedMemoryUnregister(
        self, request: messages.SystemSharedMemoryUnregisterRequest, context: Context
    ) -> messages.SystemSharedMemoryUnregisterResponse:
        """Forget a region, or all."""
        return await self._shared_memory.unregister(request)

    async def CudaSharedMemoryRegister(
        self, request: messages.CudaSharedMemoryRegisterRequest, context: Context
    ) -> NoReturn:
        """Not offered."""
        raise UnimplementedError(NO_CUDA)

    async def CudaSharedMemoryStatus(
        self, request: messages.CudaSharedMemoryStatusRequest, context: Context
    ) -> NoReturn:
        """Not offered."""
        raise UnimplementedError(NO_CUDA)

    async def CudaSharedMemoryUnregister(
        self, request: messages.CudaSharedMemoryUnregisterRequest, context: Context
    ) -> messages.CudaSharedMemoryUnregisterResponse:
        """Not offered; all can be forgotten, which perf_analyzer asks for before it uses system shared memory."""
        if request.name:
            raise UnimplementedError(NO_CUDA)
        return messages.CudaSharedMemoryUnregisterResponse()
