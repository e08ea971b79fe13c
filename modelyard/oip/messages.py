"""The messages of package `inference`, built from the checked-in descriptor set in a private DescriptorPool.

tritonclient and kserve put `inference.*` into protobuf's default pool, where a second definition is a
duplicate-symbol error; a pool of our own lets the SDK share a process with either. messages.pyi, generated with the
descriptor set, tells type checkers the names.
"""

from importlib.resources import files

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

POOL = descriptor_pool.DescriptorPool()

_descriptors = descriptor_pb2.FileDescriptorSet.FromString(files(__package__).joinpath("inference.binpb").read_bytes())
for _file in _descriptors.file:
    POOL.Add(_file)

_service_file = POOL.FindFileByName("inference/grpc_service.proto")
SERVICE = _service_file.services_by_name["GRPCInferenceService"]
globals().update(
    {name: message_factory.GetMessageClass(message) for name, message in _service_file.message_types_by_name.items()}
)
