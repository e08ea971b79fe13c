from __future__ import annotations

from pathlib import Path

import pytest

from tests import programs


@pytest.fixture(scope="session")
def classifier_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return programs.classifier(tmp_path_factory.mktemp("torch_export") / "m.pt2").read_bytes()


@pytest.fixture
def classifier(tmp_path: Path, classifier_bytes: bytes) -> Path:
    """A directory with one file, m.pt2: the torch.export archive of programs.Classifier."""
    (tmp_path / "m.pt2").write_bytes(classifier_bytes)
    return tmp_path
