"""Write what a set of protobuf files declares as plain values. Runs in either environment: it needs protobuf alone.

As a program it describes tritonclient's own descriptors, as JSON: `python describe.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto

Declared = dict[str, Any]


def describe(files: Iterable[Any]) -> Declared:
    """Every message's fields, every enum's values and every method of some file descriptors, by full name."""
    declared: Declared = {}
    for file in files:
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        for enum in proto.enum_type:
            declared |= _enum(f".{proto.package}", enum)
        for message in proto.message_type:
            declared |= _message(f".{proto.package}", message)
        for service in proto.service:
            for method in service.method:
                declared[f".{proto.package}.{service.name}/{method.name}"] = [
                    method.input_type,
                    method.output_type,
                    method.client_streaming,
                    method.server_streaming,
                ]
    return declared


def _message(scope: str, message: DescriptorProto) -> Declared:
    name = f"{scope}.{message.name}"
    oneofs = [oneof.name for oneof in message.oneof_decl]
    declared: Declared = {name: {field.name: _field(field, oneofs) for field in message.field}}
    for enum in message.enum_type:
        declared |= _enum(name, enum)
    for nested in message.nested_type:
        declared |= _message(name, nested)
    return declared


def _field(field: FieldDescriptorProto, oneofs: list[str]) -> list[Any]:
    oneof = oneofs[field.oneof_index] if field.HasField("oneof_index") else ""
    kind = FieldDescriptorProto.Type.Name(field.type)
    label = FieldDescriptorProto.Label.Name(field.label)
    return [field.number, kind, label, field.type_name, oneof]


def _enum(scope: str, enum: EnumDescriptorProto) -> Declared:
    return {f"{scope}.{enum.name}": {value.name: value.number for value in enum.value}}


def main() -> None:
    """Print what tritonclient declares."""
    from tritonclient.grpc import model_config_pb2, service_pb2  # noqa: PLC0415

    print(json.dumps(describe([model_config_pb2.DESCRIPTOR, service_pb2.DESCRIPTOR])))


if __name__ == "__main__":
    main()
