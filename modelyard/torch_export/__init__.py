"""Archives of torch.export (.pt2), read as data: the registry vets what is pushed, and a runner what it loads."""

from modelyard.torch_export.signature import read_signature

__all__ = ["read_signature"]
