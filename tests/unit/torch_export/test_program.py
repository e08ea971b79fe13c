from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modelyard.torch_export.signature import read_signature
from tests import programs
from tests.programs import call, graph, specs
from tests.unit.torch_export.refused import refusal

ONES = torch.ones(2, 3)
RUNS_CODE = "__import__('os').system('true')"

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch's, while it exports


@dataclasses.dataclass
class Result:
    """A container that is not torch's own."""

    scores: torch.Tensor


@pytest.fixture(scope="module")
def _registered() -> None:
    torch.export.register_dataclass(Result, serialized_type_name="test.Result")


@torch.library.custom_op("modelyard_test::double", mutates_args=())
def double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@double.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


@pytest.mark.usefixtures("_registered")
@pytest.mark.parametrize(
    ("forward", "args", "reason", "names"),
    [
        (
            lambda x: double(x) + 1,
            (ONES,),
            "'torch.ops.modelyard_test.double.default', which needs custom code",
            ["output"],
        ),
        (lambda x: Result(x + 1), (ONES,), "'test.Result', which needs custom code", ["output_0"]),
        (lambda r: r.scores + 1, (Result(ONES),), "expected a pickle of tensors only, got 'tests.", ["output"]),
    ],
)
def test_models_that_need_custom_code(tmp_path: Path, forward: Any, args: Any, reason: str, names: list[str]) -> None:
    programs.save(tmp_path / "m.pt2", forward, *args)
    assert reason in refusal(tmp_path)
    assert [t.name for t in read_signature(tmp_path / "m.pt2", allow_unsafe=True).outputs] == names


def first_size(program: dict[str, Any]) -> Any:
    return graph(program)["tensor_values"]["x"]["sizes"][0]["as_expr"]


CODE = [
    ("expr_str", lambda p: first_size(p).update(expr_str=RUNS_CODE)),
    ("expr_str", lambda p: first_size(p).update(expr_str="sympify('1')")),
    ("expr_str", lambda p: first_size(p).update(expr_str="(lambda: 1)()")),
    ("expr_str", lambda p: first_size(p).update(expr_str="[c for c in ()]")),
    ("expr_str", lambda p: first_size(p).update(expr_str="Symbol('s0').__class__")),
    ("expr_str", lambda p: first_size(p).update(expr_str="Symbol('s0; import os')")),
    ("expr_str", lambda p: first_size(p).update(expr_str="f'{1}'")),
    ("expr_str", lambda p: first_size(p).update(expr_str="(x := 1)")),
    ("expr_str", lambda p: first_size(p).update(expr_str="1 +")),
    ("expr_str", lambda p: first_size(p).update(expr_str="(" * 9000)),
    ("expr_str", lambda p: first_size(p).update(expr_str="1 + " * 9000 + "1")),
    ("guards_code", lambda p: p.update(guards_code=["L['x'].size()[0] > 1", f"{RUNS_CODE} == 0"])),
    ("guards_code", lambda p: p.update(guards_code=["torch.os.system('true')"])),
    ("guards_code", lambda p: p.update(guards_code=["L['x'].__class__"])),
    ("guards_code", lambda p: p.update(guards_code=["L['x\"); import os; (\"'].size()[0]"])),
    ("target", lambda p: graph(p)["nodes"][0].update(target="torch.os.system")),
    ("target", lambda p: graph(p)["nodes"][0].update(target="torch.ops.load_library")),
    ("target", lambda p: graph(p)["nodes"][0].update(target="torch.ops.aten.from_file.default")),
    ("target", lambda p: graph(p)["nodes"][0].update(target="torch.ops.aten.add.__getattr__")),
    ("target", lambda p: graph(p)["nodes"][0].update(target="torch.ops.aten.__init__.__func__")),
    ("target", lambda p: graph(p)["nodes"][0].update(target="torch.ops.aten.__getattr__.default")),
    ("target", lambda p: graph(p)["nodes"][0].update(target="_operator.methodcaller")),
    ("target", lambda p: graph(p)["nodes"][0].update(target="torch.ops.higher_order.call_torchbind")),
    ("target", lambda p: graph(p)["nodes"][0].update(target="#triton:kernel")),
    ("as_operator", lambda p: graph(p)["nodes"][0]["inputs"].append({"arg": {"as_operator": "torch.os.system"}})),
    ("name", lambda p: graph(p)["inputs"][0]["as_tensor"].update(name="x): import os #")),
    ("as_name", lambda p: graph(p)["inputs"].append({"as_sym_int": {"as_name": "n\nimport os"}})),
    ("class_fqn", lambda p: specs(p)["input_specs"].append({"custom_obj": {"arg": {"class_fqn": "a.B"}}})),
    ("parameter_name", lambda p: specs(p)["input_specs"][0]["parameter"].update(parameter_name='a"); import os; ("')),
    ("forward_arg_names", lambda p: call(p).update(forward_arg_names=["x", "y=print()"])),
    ("in_spec", lambda p: call(p).update(in_spec='[1, {"type": "collections.defaultdict"}]')),
    (
        "in_spec",
        lambda p: call(p).update(in_spec=json.dumps([1, {"type": None, "context": '{"__enum__": 1}'}])),
    ),
    (
        "in_spec",
        lambda p: call(p).update(in_spec=json.dumps([1, {"type": "builtins.dict", "context": '["a\'"]'}])),
    ),
    ("in_spec", lambda p: call(p).update(in_spec='[1, {"type": "collections.namedtuple"}]')),
    ("out_spec", lambda p: call(p).update(out_spec="no JSON")),
]


@pytest.mark.parametrize("name", ["and", "or", "xor", "lshift", "rshift", "iand", "irshift"])
def test_torchs_own_operators_that_are_named_so(classifier: Path, name: str) -> None:
    target = f"torch.ops.aten.__{name}__.Scalar"
    programs.edit(classifier / "m.pt2", lambda p: graph(p)["nodes"][0].update(target=target))
    assert read_signature(classifier / "m.pt2").outputs


@pytest.mark.parametrize(("key", "change"), CODE)
def test_places_that_torch_would_run(classifier: Path, key: str, change: Callable[[dict[str, Any]], object]) -> None:
    programs.edit(classifier / "m.pt2", change)
    assert refusal(classifier).startswith(f"m.pt2: {key}: ")
