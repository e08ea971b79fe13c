"""Why a torch.export archive is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import InvalidInputError
from modelyard.torch_export.signature import read_signature


def refusal(directory: Path, *, allow_unsafe: bool = False) -> str:
    """The message with which the archive in a directory is refused."""
    with pytest.raises(InvalidInputError) as caught:
        read_signature(directory / "m.pt2", allow_unsafe=allow_unsafe)
    assert str(directory) not in caught.value.message
    assert len(caught.value.message) < 1000
    return caught.value.message
