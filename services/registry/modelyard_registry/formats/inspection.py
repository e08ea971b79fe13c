"""`python -m modelyard_registry.formats.inspection FORMAT DIRECTORY [--allow-unsafe]`: reads one artifact and reports.

A process of its own, because what it reads may be hostile: a parser that crashes, hangs or takes gigabytes does so
here, and not in the registry.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from modelyard import codec
from modelyard.catalogue import Signature
from modelyard.errors import InvalidInputError
from modelyard.preprocessing import files
from modelyard.process import Parent
from modelyard_registry.formats import onnx_signature, safetensors_signature, torch_export_signature
from modelyard_registry.formats.known import ALLOW_UNSAFE
from modelyard_registry.formats.refusal import refuse_pickles
from modelyard_registry.formats.signatures import check_signature

MAX_SIGNATURE_BYTES = 32 << 10


def inspect(format_name: str, directory: Path, *, allow_unsafe: bool = False) -> dict[str, str]:
    """Return `signature`, as JSON, or `error`, the reason why it is not a valid artifact.

    Without `allow_unsafe` an artifact with pickles or custom code in it is not.
    """
    try:
        signature = codec.encode(read_signature(format_name, directory, allow_unsafe=allow_unsafe))
        if len(signature) > MAX_SIGNATURE_BYTES:
            raise InvalidInputError(
                f"signature: expected at most {MAX_SIGNATURE_BYTES} bytes as JSON, got {len(signature)}"
            )
    except InvalidInputError as error:
        return {"error": error.message[:1000]}
    return {"signature": signature.decode()}


def read_signature(format_name: str, directory: Path, *, allow_unsafe: bool) -> Signature:
    """Check an artifact and return what callers send and get: of a model with preprocessing that is what encloses it.

    Raises:
        InvalidInputError: it is not valid; the message says why.
    """
    if not allow_unsafe:
        refuse_pickles(directory)
    model = _read_model(format_name, directory, allow_unsafe=allow_unsafe)
    if not files.is_there(directory):
        return model
    from modelyard.preprocessing.preprocessing import Preprocessing  # noqa: PLC0415 (imported where it is used)

    outer = Preprocessing.load(directory / files.DIRECTORY).signature(model)
    return check_signature(files.PREPROCESSING, outer)


def _read_model(format_name: str, directory: Path, *, allow_unsafe: bool) -> Signature:
    match format_name:
        case "onnx":
            return onnx_signature.read_signature(directory, allow_unsafe=allow_unsafe)
        case "torch_export":
            return torch_export_signature.read_signature(directory, allow_unsafe=allow_unsafe)
        case "safetensors":
            return safetensors_signature.read_signature(directory, allow_unsafe=allow_unsafe)
        case _:
            raise InvalidInputError(f"format: expected one that has a reader, got {format_name!r}")


def main() -> None:
    """Report on the artifact named by the arguments."""
    parent = Parent(dict(os.environ))
    parent.report(**inspect(sys.argv[1], Path(sys.argv[2]), allow_unsafe=ALLOW_UNSAFE in sys.argv[3:]))


if __name__ == "__main__":
    main()
