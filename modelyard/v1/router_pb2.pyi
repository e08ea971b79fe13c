from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResolveRouteRequest(_message.Message):
    __slots__ = ("model", "version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("model", "version", "endpoints", "ttl_ms", "canary")
    class Endpoint(_message.Message):
        __slots__ = ("worker", "address")
        WORKER_FIELD_NUMBER: _ClassVar[int]
        ADDRESS_FIELD_NUMBER: _ClassVar[int]
        worker: str
        address: str
        def __init__(self, worker: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...
    class Canary(_message.Message):
        __slots__ = ("version", "endpoints", "percent")
        VERSION_FIELD_NUMBER: _ClassVar[int]
        ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
        PERCENT_FIELD_NUMBER: _ClassVar[int]
        version: str
        endpoints: _containers.RepeatedCompositeFieldContainer[Route.Endpoint]
        percent: float
        def __init__(self, version: _Optional[str] = ..., endpoints: _Optional[_Iterable[_Union[Route.Endpoint, _Mapping]]] = ..., percent: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    CANARY_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    endpoints: _containers.RepeatedCompositeFieldContainer[Route.Endpoint]
    ttl_ms: int
    canary: Route.Canary
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., endpoints: _Optional[_Iterable[_Union[Route.Endpoint, _Mapping]]] = ..., ttl_ms: _Optional[int] = ..., canary: _Optional[_Union[Route.Canary, _Mapping]] = ...) -> None: ...
