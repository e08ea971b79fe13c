from modelyard.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Call(_message.Message):
    __slots__ = ("id", "request", "timeout_us", "alone", "background")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_US_FIELD_NUMBER: _ClassVar[int]
    ALONE_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    id: int
    request: bytes
    timeout_us: int
    alone: bool
    background: bool
    def __init__(self, id: _Optional[int] = ..., request: _Optional[bytes] = ..., timeout_us: _Optional[int] = ..., alone: bool = ..., background: bool = ...) -> None: ...

class ExecuteRequest(_message.Message):
    __slots__ = ("calls", "cancelled", "instance")
    CALLS_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    calls: _containers.RepeatedCompositeFieldContainer[Call]
    cancelled: _containers.RepeatedScalarFieldContainer[int]
    instance: str
    def __init__(self, calls: _Optional[_Iterable[_Union[Call, _Mapping]]] = ..., cancelled: _Optional[_Iterable[int]] = ..., instance: _Optional[str] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("error", "message", "retry_after_ms")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    error: str
    message: str
    retry_after_ms: int
    def __init__(self, error: _Optional[str] = ..., message: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("id", "response", "failure")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    id: int
    response: bytes
    failure: Failure
    def __init__(self, id: _Optional[int] = ..., response: _Optional[bytes] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class ExecuteResponse(_message.Message):
    __slots__ = ("replies", "accepted", "last", "refusal")
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[Reply]
    accepted: bool
    last: bool
    refusal: Failure
    def __init__(self, replies: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ..., accepted: bool = ..., last: bool = ..., refusal: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class LoadRequest(_message.Message):
    __slots__ = ("instance", "worker", "format", "directory", "options")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    instance: str
    worker: str
    format: str
    directory: str
    options: _types_pb2.InstanceOptions
    def __init__(self, instance: _Optional[str] = ..., worker: _Optional[str] = ..., format: _Optional[str] = ..., directory: _Optional[str] = ..., options: _Optional[_Union[_types_pb2.InstanceOptions, _Mapping]] = ...) -> None: ...

class LoadResponse(_message.Message):
    __slots__ = ("signature", "platform", "execute_port")
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    EXECUTE_PORT_FIELD_NUMBER: _ClassVar[int]
    signature: _types_pb2.Signature
    platform: str
    execute_port: int
    def __init__(self, signature: _Optional[_Union[_types_pb2.Signature, _Mapping]] = ..., platform: _Optional[str] = ..., execute_port: _Optional[int] = ...) -> None: ...

class UnloadRequest(_message.Message):
    __slots__ = ("instance",)
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    instance: str
    def __init__(self, instance: _Optional[str] = ...) -> None: ...

class UnloadResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
