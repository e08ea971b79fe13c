from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest

from modelyard.errors import InvalidInputError
from modelyard.train import parameters


class Base:
    limit: float | None = None


class Example(Base):
    layers: int
    lr: float = 0.1
    name: str = "adam"
    deep: bool = False
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, str] | None = None
    steps: list[float] = [0.5]  # noqa: RUF012 (what a user would write)
    known: ClassVar[int] = 3
    _cache: dict[str, int]


def checked(**given: Any) -> dict[str, Any]:
    return parameters.checked(Example, {"layers": 2, **given})


def test_defaults_are_those_of_the_class() -> None:
    assert checked() == {
        "limit": None,
        "layers": 2,
        "lr": 0.1,
        "name": "adam",
        "deep": False,
        "kind": "a",
        "sizes": (1, 2),
        "pair": None,
        "steps": [0.5],
    }


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"lr": 1}, 1.0),
        ({"limit": 2}, 2.0),
        ({"limit": None}, None),
        ({"sizes": [3]}, (3,)),
        ({"pair": [1, "x"]}, (1, "x")),
        ({"steps": (1, 2.5)}, [1.0, 2.5]),
        ({"kind": "b"}, "b"),
    ],
)
def test_values_are_taken_as_their_type(given: dict[str, Any], taken: Any) -> None:
    (name,) = given
    found = checked(**given)[name]
    assert (found, type(found)) == (taken, type(taken))


@pytest.mark.parametrize(
    "given",
    [
        {"layers": 2.0},
        {"layers": True},
        {"lr": "0.1"},
        {"lr": None},
        {"name": 3},
        {"deep": 1},
        {"kind": "c"},
        {"sizes": [1, "2"]},
        {"sizes": 3},
        {"pair": [1]},
    ],
)
def test_wrong_types_are_refused(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(InvalidInputError, match=rf"Example\.{name}: expected .*; there are .*lr \(float\)"):
        checked(**given)


def test_unknown_and_missing_parameters_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"among limit .*lr \(float\).*; got 'rate'"):
        checked(rate=1)
    with pytest.raises(InvalidInputError, match=r"expected a value for layers \(int\), got none"):
        parameters.checked(Example, {})
    with pytest.raises(InvalidInputError, match="got 'known'"):
        checked(known=1)


def test_types_that_no_parameter_can_have_are_refused() -> None:
    class Wrong:
        table: dict[str, int]

    with pytest.raises(InvalidInputError, match=r"Wrong\.table: expected bool, .*got dict\[str, int\]"):
        parameters.declared(Wrong)


def test_text_is_json_or_itself() -> None:
    texts = {"layers": "3", "lr": "1", "name": "7", "deep": "true", "sizes": "[4, 5]", "limit": "null", "kind": "b"}
    found = parameters.from_text(Example, texts)
    assert {name: found[name] for name in texts} == {
        "layers": 3,
        "lr": 1.0,
        "name": "7",
        "deep": True,
        "sizes": (4, 5),
        "limit": None,
        "kind": "b",
    }
    with pytest.raises(InvalidInputError, match="expected int, got 'many'"):
        parameters.from_text(Example, {"layers": "many"})
