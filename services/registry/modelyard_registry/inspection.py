"""`python -m modelyard_registry.inspection FORMAT DIRECTORY`: reads one artifact and reports what it found.

A process of its own, because what it reads may be hostile: a parser that crashes, hangs or takes gigabytes does so
here, and not in the registry.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from modelyard import codec
from modelyard.errors import InvalidInputError
from modelyard.process import Parent
from modelyard_registry.onnx_signature import read_signature

READERS = {"onnx": read_signature}
MAX_SIGNATURE_BYTES = 32 << 10


def inspect(format_name: str, directory: Path) -> dict[str, str]:
    """Return `signature`, as JSON, or `error`, the reason why it is not a valid artifact."""
    try:
        signature = codec.encode(READERS[format_name](directory))
        if len(signature) > MAX_SIGNATURE_BYTES:
            raise InvalidInputError(
                f"signature: expected at most {MAX_SIGNATURE_BYTES} bytes as JSON, got {len(signature)}"
            )
    except InvalidInputError as error:
        return {"error": error.message[:1000]}
    return {"signature": signature.decode()}


def main() -> None:
    """Report on the artifact named by the arguments."""
    parent = Parent(dict(os.environ))
    parent.report(**inspect(sys.argv[1], Path(sys.argv[2])))


if __name__ == "__main__":
    main()
