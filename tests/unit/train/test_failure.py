from __future__ import annotations

import importlib
import traceback
from asyncio import CancelledError
from pathlib import Path

import pytest
import torch

from modelyard.errors import InvalidInputError, UnavailableError
from modelyard.train.failure import NonFiniteError, RecipeError, of_recipe, users_frames
from modelyard.train.recipe import Recipe
from modelyard.train.reduction import GroupLost


def test_the_users_frames_are_shown_and_the_first_line_of_the_reason() -> None:
    with pytest.raises(RecipeError) as caught, of_recipe("step 7"):
        torch.nn.Linear(2, 2)(torch.zeros(1, 3))
    assert caught.value.message.startswith("step 7: the recipe raised RuntimeError: mat1 and mat2")
    assert caught.value.traceback.count("  File ") == 1
    assert "test_failure.py" in caught.value.traceback
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_the_layer_that_refuses_its_input_is_named() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    with pytest.raises(RecipeError) as caught, of_recipe("step 7"):
        layers(torch.zeros(1, 2))
    assert caught.value.message.endswith("(in Linear(in_features=3, out_features=2, bias=True))")
    with pytest.raises(RecipeError) as caught, of_recipe("step 7"):
        raise ValueError("odd")
    assert caught.value.message == "step 7: the recipe raised ValueError: odd"


def test_where_no_frame_is_the_users_it_is_told_what_ours_called() -> None:
    class Plain(Recipe):
        model = loss = optimizer = None  # type: ignore[assignment]

    layers = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(RuntimeError) as caught:
        Plain().forward(layers, torch.zeros(1, 3))
    frames = traceback.extract_tb(caught.value.__traceback__)[1:]
    shown = [frame.filename.rpartition("/")[2] for frame in users_frames(traceback.StackSummary.from_list(frames))]
    assert shown == ["container.py", "linear.py"]


def test_paths_are_those_in_the_directory_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "odd_layer.py").write_text("def wrong():\n    raise ValueError('odd')\n")
    odd_layer = importlib.import_module("layers.odd_layer")
    with pytest.raises(RecipeError) as caught, of_recipe("step 7"):
        odd_layer.wrong()
    lines = caught.value.traceback.splitlines()
    assert lines[-3:] == [
        '  File "layers/odd_layer.py", line 2, in wrong',
        "    raise ValueError('odd')",
        "ValueError: odd",
    ]
    (tmp_path / "unwritten.py").write_text("def wrong(:\n")
    with pytest.raises(RecipeError) as caught, of_recipe("import"):
        importlib.import_module("unwritten")
    assert '  File "unwritten.py", line 1\n' in caught.value.traceback
    assert str(tmp_path) not in caught.value.traceback


def test_errors_of_ours_pass() -> None:
    with pytest.raises(GroupLost), of_recipe("step 7"):
        raise GroupLost
    with pytest.raises(UnavailableError, match=r"^gone$"), of_recipe("step 7"):
        raise UnavailableError("gone")
    with pytest.raises(InvalidInputError, match=r"^step 7: bad$"), of_recipe("step 7"):
        raise InvalidInputError("bad")


def test_few_samples_are_named_and_all_are_known() -> None:
    error = NonFiniteError("the loss", 3, range(20))
    assert error.message.endswith("batch: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 and 4 others")
    assert error.samples == tuple(range(20))


@pytest.mark.parametrize("leave", [SystemExit("enough"), CancelledError()], ids=["exit", "cancelled"])
def test_code_that_leaves_has_raised(leave: BaseException) -> None:
    words = f"^step 7: the recipe raised {type(leave).__name__}: "
    with pytest.raises(RecipeError, match=words) as caught, of_recipe("step 7"):
        raise leave
    assert "raise leave" in caught.value.traceback


def test_a_user_who_interrupts_a_run_is_heard() -> None:
    with pytest.raises(KeyboardInterrupt), of_recipe("step 7"):
        raise KeyboardInterrupt
