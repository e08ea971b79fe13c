"""The user's recipe: imported from the directory that its files are in."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TypeGuard

from modelyard.errors import InvalidInputError
from modelyard.jobs.training import Code
from modelyard.train.failure import RecipeError, raised, written
from modelyard.train.recipe import Recipe


def recipe(code: Code, directory: Path) -> Recipe:
    """Return the recipe that a job names, with its parameters.

    Raises:
        InvalidInputError: there is no such module, or no or more than one recipe in it, or its parameters are others.
        RecipeError: the user's code raised.
    """
    module, _, name = code.entry.partition(":")
    sys.dont_write_bytecode = True  # the directory is others', too
    sys.path.insert(0, str(directory))
    kind = _class(_imported(module, directory), name)
    try:
        return kind.from_text(dict(code.parameters))
    except InvalidInputError:
        raise
    except BaseException as error:
        raise _raised(f"{kind.__name__}()", error, directory) from error


def _imported(name: str, directory: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise _raised(f"import {name}", error, directory) from error
        there = ", ".join(sorted(path.name for path in directory.iterdir())[:10])
        raise InvalidInputError(f"recipe: expected a module {name!r}, got a directory with {there}") from error
    except BaseException as error:  # also `sys.exit()`
        raise _raised(f"import {name}", error, directory) from error


def _class(module: ModuleType, name: str) -> type[Recipe]:
    if name:
        found: object = getattr(module, name, None)
        if not (isinstance(found, type) and issubclass(found, Recipe)):
            raise InvalidInputError(f"recipe: expected {module.__name__}:{name} to be a Recipe, got {found!r:.100}")
        return found
    recipes: list[type[Recipe]] = [kind for kind in vars(module).values() if _is_recipe_of(module, kind)]
    whole = [kind for kind in recipes if not inspect.isabstract(kind)]
    if len(whole) != 1:
        got = _several(whole or recipes)
        raise InvalidInputError(f"{module.__name__}: expected one class that is a whole Recipe, got {got}")
    return whole[0]


def _several(recipes: list[type[Recipe]]) -> str:
    """Which there are, and what is to be done about that."""
    if not recipes:
        return "none"
    if len(recipes) == 1:
        lacking = sorted(getattr(recipes[0], "__abstractmethods__", ()))
        return f"{recipes[0].__name__}, which lacks {', '.join(lacking)}"
    names = [kind.__name__ for kind in recipes]
    return f"{', '.join(names)}: name one as --entry {recipes[0].__module__}:{names[0]}"


def _is_recipe_of(module: ModuleType, kind: object) -> TypeGuard[type[Recipe]]:
    return isinstance(kind, type) and issubclass(kind, Recipe) and kind.__module__ == module.__name__


def _raised(where: str, error: BaseException, directory: Path) -> RecipeError:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(directory))]
    return RecipeError(f"{where}: {raised(error)}", written(traceback.StackSummary.from_list(frames), error))
