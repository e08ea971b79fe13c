from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ReadInstanceLogRequest(_message.Message):
    __slots__ = ("instance", "tail_bytes")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    TAIL_BYTES_FIELD_NUMBER: _ClassVar[int]
    instance: str
    tail_bytes: int
    def __init__(self, instance: _Optional[str] = ..., tail_bytes: _Optional[int] = ...) -> None: ...

class ReadInstanceLogResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...
