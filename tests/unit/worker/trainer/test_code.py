"""Users' recipes, imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.errors import InvalidInputError
from modelyard.jobs.dataset import Artifact
from modelyard.jobs.training import Code
from modelyard.train.failure import RecipeError
from modelyard.train.recipe import Recipe
from modelyard_worker.trainer.code import recipe

SOURCE = """
from torch import nn, optim

from modelyard.train import Recipe


class {name}(Recipe):
    lr: float = 0.1

    def model(self):
        return nn.Linear(1, 1)

    def loss(self, outputs, targets):
        return (outputs - targets).mean()

    def optimizer(self, model):
        return optim.SGD(model.parameters(), lr=self.lr)

"""


@pytest.fixture(autouse=True)
def _imports(tmp_path: Path) -> Iterator[None]:
    path, modules, writes = list(sys.path), set(sys.modules), sys.dont_write_bytecode
    yield
    sys.path[:] = path
    sys.dont_write_bytecode = writes
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def read(directory: Path, entry: str, source: str, **parameters: str) -> Recipe:
    (directory / f"{entry.partition(':')[0]}.py").write_text(source)
    return recipe(Code(Artifact("c" * 64), entry, tuple(parameters.items())), directory)


def test_the_only_recipe_with_its_parameters(tmp_path: Path) -> None:
    made = read(tmp_path, "only", SOURCE.format(name="Only"), lr="0.5")
    assert (type(made).__name__, made.parameters["lr"]) == ("Only", 0.5)
    assert not (tmp_path / "__pycache__").exists()


def test_one_of_several(tmp_path: Path) -> None:
    source = SOURCE.format(name="One") + SOURCE.format(name="Two")
    assert type(read(tmp_path, "several:Two", source)).__name__ == "Two"
    with pytest.raises(InvalidInputError, match="got One, Two: name one as --entry several:One"):
        recipe(Code(Artifact("c" * 64), "several"), tmp_path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("none", "none: expected one class that is a whole Recipe, got none"),
        ("none:nn", "expected none:nn to be a Recipe"),
        ("none:Missing", "expected none:Missing to be a Recipe, got None"),
    ],
)
def test_no_recipe(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read(tmp_path, entry, "from torch import nn\nfrom modelyard.train import Recipe\n")


def test_a_recipe_that_lacks_something_is_named(tmp_path: Path) -> None:
    source = SOURCE.format(name="Partial").replace("def loss", "def losss")
    with pytest.raises(InvalidInputError, match=r"got Partial, which lacks loss$"):
        read(tmp_path, "partial", source)


def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "other.py").touch()
    with pytest.raises(InvalidInputError, match=r"expected a module 'missing', got a directory with other\.py"):
        recipe(Code(Artifact("c" * 64), "missing:Only"), tmp_path)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import torch\n\n1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("def broken(:\n", "SyntaxError: "),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
    ],
)
def test_code_that_raises_is_told_with_its_own_traceback(tmp_path: Path, source: str, reason: str) -> None:
    with pytest.raises(RecipeError, match=f"import broken: the recipe raised {reason}") as failed:
        read(tmp_path, "broken", source)
    assert 'File "broken.py", line ' in failed.value.traceback
    assert "modelyard" not in failed.value.traceback


def test_a_parameter_that_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="got 'rate'"):
        read(tmp_path, "known", SOURCE.format(name="Known"), rate="1")
