from __future__ import annotations

from asyncio import CancelledError

import pytest
import torch

from modelyard.errors import InvalidInputError, UnavailableError
from modelyard.train.failure import NonFiniteError, RecipeError, of_recipe
from modelyard.train.reduction import GroupLost


def test_the_users_frames_are_shown_and_the_first_line_of_the_reason() -> None:
    with pytest.raises(RecipeError) as caught, of_recipe("step 7"):
        torch.nn.Linear(2, 2)(torch.zeros(1, 3))
    assert caught.value.message.startswith("step 7: the recipe raised RuntimeError: mat1 and mat2")
    assert caught.value.traceback.count("  File ") == 1
    assert "test_failure.py" in caught.value.traceback
    assert isinstance(caught.value.__cause__, RuntimeError)


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
