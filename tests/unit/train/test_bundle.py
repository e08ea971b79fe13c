"""Which files of a recipe's directory travel, and what they are called together."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import InvalidInputError
from modelyard.train.bundle import Bounds, code_digest, pack


def recipe(root: Path) -> Path:
    (root / "layers").mkdir(parents=True)
    (root / "recipe.py").write_text("x = 1\n")
    (root / "layers" / "a.py").write_text("y = 2\n")
    return root


def test_the_digest_is_of_names_and_contents_alone(tmp_path: Path) -> None:
    one, two = recipe(tmp_path / "one"), recipe(tmp_path / "two")
    for path in ("__pycache__/recipe.cpython-311.pyc", ".git/HEAD", "layers/.DS_Store", "layers/a.pyc"):
        (two / path).parent.mkdir(exist_ok=True)
        (two / path).write_text("cache")
    (two / "recipe.py").chmod(0o755)
    assert [file.path for file in pack(two).files] == ["layers/a.py", "recipe.py"]
    assert pack(one) == pack(two)
    assert code_digest(pack(one)) == "09bc46173862bead329021507a7912b5c2b19eb3321bf177a266abd8dc2c0c70"
    (two / "recipe.py").write_text("x = 2\n")
    changed = code_digest(pack(two))
    (two / "recipe.py").write_text("x = 1\n")
    (two / "recipe.py").rename(two / "other.py")
    assert len({code_digest(pack(one)), changed, code_digest(pack(two))}) == 3


def test_links_are_refused(tmp_path: Path) -> None:
    root = recipe(tmp_path / "one")
    (root / "layers" / "secret").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInputError, match="layers/secret: expected files and directories, found a link"):
        pack(root)
    (root / "layers" / "secret").unlink()
    (root / "more").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(InvalidInputError, match="more: expected files and directories, found a link"):
        pack(root)


@pytest.mark.parametrize("bounds", [Bounds(files=1), Bounds(size_bytes=11)])
def test_bounds(tmp_path: Path, bounds: Bounds) -> None:
    root = recipe(tmp_path / "one")
    assert len(pack(root, Bounds(files=2, size_bytes=12)).files) == 2
    with pytest.raises(InvalidInputError, match="data and weights do not belong there"):
        pack(root, bounds)


def test_something_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="expected the directory of a recipe"):
        pack(tmp_path / "nowhere")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("x")
    with pytest.raises(InvalidInputError, match="expected the files of a recipe, found none"):
        pack(tmp_path)
