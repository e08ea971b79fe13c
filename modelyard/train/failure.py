"""Ends of a run that are the recipe's doing: told with the traceback of the user's own code."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import dropwhile
from pathlib import Path

import torch

from modelyard.errors import InvalidInputError, ModelExecutionError, ModelyardError
from modelyard.train.reduction import GroupLost

_OURS = tuple(str(Path(place).parent) + "/" for place in (__file__, str(torch.__file__)))
_NAMED_SAMPLES = 16


class RecipeError(ModelExecutionError):
    """The recipe's or the dataset's code raised.

    Attributes:
        traceback: of the user's own code, without torch's frames and ours; of all there is if none is the user's.
    """

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class NonFiniteError(ModelExecutionError):
    """A loss, or the norm of the gradients, is infinite or not a number.

    Attributes:
        step: that was being done, from 0 on.
        samples: the numbers of those samples among which it is.
    """

    def __init__(self, what: str, step: int, samples: Sequence[int]) -> None:
        named = ", ".join(map(str, samples[:_NAMED_SAMPLES]))
        more = f" and {len(samples) - _NAMED_SAMPLES} others" if len(samples) > _NAMED_SAMPLES else ""
        super().__init__(f"step {step}: {what} is not finite; samples of the batch: {named}{more}")
        self.step = step
        self.samples = tuple(samples)


@contextmanager
def of_recipe(where: str) -> Iterator[None]:
    """Turn what the user's code raises into a RecipeError; `where` is told, as in "step 3".

    Raises:
        RecipeError: it raised.
        GroupLost, ModelyardError: as they come, but for an InvalidInputError, which is told where it came from.
        KeyboardInterrupt: the user's, of a run on a laptop.
    """
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(f"{where}: {error.message}") from error
    except (GroupLost, ModelyardError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also `sys.exit()`, which would end a thread without a word
        reason = (str(error).strip().splitlines() or [""])[0]
        message = f"{where}: the recipe raised {type(error).__name__}: {reason:.300}"
        raise RecipeError(message, user_traceback(error)) from error


def user_traceback(error: BaseException) -> str:
    """Return the traceback of an error, of the user's own frames where there are any."""
    shown = users_frames(traceback.extract_tb(error.__traceback__))
    lines = ["Traceback (most recent call last):\n", *shown.format(), *traceback.format_exception_only(error)]
    return "".join(lines)


def users_frames(frames: traceback.StackSummary) -> traceback.StackSummary:
    """Return those that are neither torch's nor ours; all if there are no others."""
    users = [frame for frame in frames if not _is_ours(frame)]
    return traceback.StackSummary.from_list(users or frames)


def inner_frames(stack: traceback.StackSummary) -> traceback.StackSummary:
    """Return what ours call, of the whole stack of a thread: not what has called ours."""
    called = list(dropwhile(lambda frame: not _is_ours(frame), stack))
    return traceback.StackSummary.from_list(called or stack)


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith(_OURS)
