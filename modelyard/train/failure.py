"""Ends of a run that are the recipe's doing: told with the traceback of the user's own code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import dropwhile
from pathlib import Path

import torch
from torch import nn

from modelyard.errors import InvalidInputError, ModelExecutionError, ModelyardError
from modelyard.train.reduction import GroupLost

_HERE = str(Path(__file__).parent) + "/"
_TORCH = str(Path(torch.__file__).parent) + "/"
_CALLING = str(Path(nn.modules.module.__file__))
"""Where torch calls modules: of no interest between two of them."""
_LAYER_LENGTH = 100
_NAMED_SAMPLES = 16


class RecipeError(ModelExecutionError):
    """The recipe's or the dataset's code raised.

    Attributes:
        traceback: of the user's own code, without torch's frames and ours; if none is the user's, of what ours called.
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
        raise RecipeError(f"{where}: {raised(error)}", user_traceback(error)) from error


def raised(error: BaseException) -> str:
    """Return what the user's code raised, in a line, and in which of torch's layers, if it was in one."""
    reason = (str(error).strip().splitlines() or [""])[0]
    layer = _layer(error)
    return f"the recipe raised {type(error).__name__}: {reason:.300}" + (f" (in {layer})" if layer else "")


def _layer(error: BaseException) -> str:
    """The innermost module of torch's own that was called, with its options."""
    found = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = frame.f_locals.get("self")
        if frame.f_code.co_name == "forward" and _is_of_torch(frame.f_code.co_filename) and _is_leaf(module):
            found = repr(module)
    return found if len(found) <= _LAYER_LENGTH else found.partition("(")[0]


def _is_of_torch(filename: str) -> bool:
    return filename.startswith(_TORCH)


def _is_leaf(module: object) -> bool:
    return isinstance(module, nn.Module) and next(module.children(), None) is None


def user_traceback(error: BaseException) -> str:
    """Return the traceback of an error, of the user's own frames where there are any."""
    return written(users_frames(traceback.extract_tb(error.__traceback__)), error)


def written(frames: traceback.StackSummary, error: BaseException | None = None) -> str:
    """Return frames, and the error that ends them, as Python writes them, with paths that are relative to `sys.path`.

    So a recipe's files have the paths that they have in its directory, wherever that lies on a worker.
    """
    title = "Traceback" if error is not None else "Stack"
    ends = traceback.format_exception_only(error) if error is not None else []
    text = "".join([f"{title} (most recent call last):\n", *frames.format(), *ends])
    for directory in sorted({os.path.abspath(place) for place in sys.path}, key=len, reverse=True):
        text = text.replace(f'File "{directory}{os.sep}', 'File "')
    return text


def users_frames(frames: traceback.StackSummary) -> traceback.StackSummary:
    """Return those that are neither torch's nor ours; if there are none, those that ours called."""
    users = [frame for frame in frames if not _is_ours(frame)]
    return traceback.StackSummary.from_list(users or _called(frames))


def _called(frames: traceback.StackSummary) -> list[traceback.FrameSummary]:
    """What our innermost frame called, or that frame itself."""
    ends = [number for number, frame in enumerate(frames, 1) if frame.filename.startswith(_HERE)]
    called = [frame for frame in frames[ends[-1] if ends else 0 :] if frame.filename != _CALLING]
    return called or list(frames[-1:])


def inner_frames(stack: traceback.StackSummary) -> traceback.StackSummary:
    """Return what ours call, of the whole stack of a thread: not what has called ours."""
    called = list(dropwhile(lambda frame: not _is_ours(frame), stack))
    return traceback.StackSummary.from_list(called or stack)


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith((_HERE, _TORCH))
