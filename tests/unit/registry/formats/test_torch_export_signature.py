from __future__ import annotations

import contextlib
import json
import random
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import Dim

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.torch_export.signature import MAX_DEPTH
from modelyard_registry.formats.torch_export_signature import read_signature
from tests import programs
from tests.programs import call, graph, specs
from tests.unit.registry.refused import refusal

ONES = torch.ones(2, 3)

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch's, while it exports


def exported(directory: Path, forward: Any, *args: Any, **options: Any) -> tuple[list[str], list[str]]:
    """The inputs and outputs of what torch.export makes of it, as text."""
    programs.save(directory / "m.pt2", forward, *args, **options)
    found = read_signature(directory)
    return [str(t) for t in found.inputs], [str(t) for t in found.outputs]


def test_fixed_and_dynamic_dimensions(classifier: Path) -> None:
    expected = Signature((TensorSpec("x", "FP32", (-1, 64)),), (TensorSpec("output", "FP32", (-1, 10)),))
    assert read_signature(classifier) == expected
    found = exported(classifier, lambda x, y: x + y, ONES, ONES)
    assert found == (["x: FP32 [2, 3]", "y: FP32 [2, 3]"], ["output: FP32 [2, 3]"])


DTYPES = {
    torch.bool: "BOOL",
    torch.int8: "INT8",
    torch.int16: "INT16",
    torch.int32: "INT32",
    torch.int64: "INT64",
    torch.uint8: "UINT8",
    torch.uint16: "UINT16",
    torch.uint32: "UINT32",
    torch.uint64: "UINT64",
    torch.float16: "FP16",
    torch.bfloat16: "BF16",
    torch.float32: "FP32",
    torch.float64: "FP64",
}


def test_every_datatype(tmp_path: Path) -> None:
    inputs = tuple(torch.zeros(2).to(dtype) for dtype in DTYPES)
    found, outputs = exported(tmp_path, lambda tensors: [t.reshape(1, 2) for t in tensors], inputs)
    assert found == [f"tensors_{n}: {name} [2]" for n, name in enumerate(DTYPES.values())]
    assert outputs == [f"output_{n}: {name} [1, 2]" for n, name in enumerate(DTYPES.values())]


@pytest.mark.parametrize(
    ("returned", "names"),
    [
        (lambda x: x + 1, ["output"]),
        (lambda x: (x + 1,), ["output_0"]),
        (lambda x: [x, x, x + 1], ["output_0", "output_1", "output_2"]),
        (lambda x: {"logits": x + 1, "hidden": x}, ["logits", "hidden"]),
        (lambda x: OrderedDict(b=x, a=x), ["b", "a"]),
        (lambda x: {"logits": x, "aux": (x, {"deep": x})}, ["logits", "aux_0", "aux_1_deep"]),
        (lambda x: (x, {"a": x}), ["output_0", "output_1_a"]),
        (lambda x: (x, None, 5, "text", x + 1), ["output_0", "output_4"]),
        (lambda x: {0: x, 1: x + 1}, ["0", "1"]),
    ],
)
def test_names_of_outputs(tmp_path: Path, returned: Callable[..., Any], names: list[str]) -> None:
    assert [name.partition(":")[0] for name in exported(tmp_path, returned, ONES)[1]] == names


def test_names_of_inputs_are_those_of_torch(tmp_path: Path) -> None:
    class Module(torch.nn.Module):
        def forward(self, input: Any, target: Any, n: int, name: Any = None, *, scale: torch.Tensor) -> Any:  # noqa: A002
            return input["b"] * scale + target[1] * n

    nested = ({"a": ONES, "b": ONES}, [ONES, ONES], 3)
    found, _ = exported(tmp_path, Module(), *nested, kwargs={"scale": torch.ones(3)})
    names = [text.partition(":")[0] for text in found]
    assert names == ["input_a", "input_b", "target_0", "target_1", "scale"]
    loaded = torch.export.load(tmp_path / "m.pt2").graph_signature
    assert names == [name for name in loaded.user_inputs if isinstance(name, str)]


def test_inputs_named_like_parts_of_the_document(tmp_path: Path) -> None:
    def forward(target: Any, fqn: Any, expr_str: Any, class_fqn: Any, guards_code: Any, in_spec: Any) -> Any:
        return target + fqn + expr_str + class_fqn + guards_code + in_spec

    names = ["target", "fqn", "expr_str", "class_fqn", "guards_code", "in_spec"]
    assert exported(tmp_path, forward, *[ONES] * 6)[0] == [f"{name}: FP32 [2, 3]" for name in names]


class Stateful(torch.nn.Module):
    """Parameters, buffers of both kinds, a constant; it changes a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleDict({"first-layer": torch.nn.Conv2d(3, 4, 3), "norm": torch.nn.BatchNorm2d(4)})
        self.calls = torch.nn.Buffer(torch.zeros(1))
        self.scale = torch.nn.Buffer(torch.ones(4, 1, 1), persistent=False)
        self.offset = torch.ones(1)
        self.shared: Any = self.layers["first-layer"].weight

    def forward(self, x: torch.Tensor) -> Any:
        layers: Any = self.layers
        self.calls.add_(1)
        convolved = layers["first-layer"](x) + self.shared.sum()
        return layers["norm"](convolved) * self.scale + self.offset


def test_parameters_buffers_and_constants_are_no_inputs(tmp_path: Path) -> None:
    found = exported(tmp_path, Stateful().eval(), torch.ones(2, 3, 8, 8), dynamic={"x": {0: Dim("n")}})
    assert found == (["x: FP32 [-1, 3, 8, 8]"], ["output: FP32 [-1, 4, 6, 6]"])


def shapes(x: torch.Tensor, y: torch.Tensor) -> Any:
    joined = torch.cat([x, y]).reshape(-1, x.shape[0])
    if x.shape[0] * 2 > 9:
        joined = joined + 1
    return joined, x.shape[0] + y.shape[0], torch.nonzero(x), torch.sym_max(x.shape[0], 4) * x  # type: ignore[no-untyped-call]


def control(x: torch.Tensor, y: torch.Tensor) -> Any:
    with torch.no_grad(), torch.autocast("cpu"):
        product = x @ y
    chosen = torch.cond(x.sum() > 0, lambda t: t + 1, lambda t: t - 1, (x,))
    return chosen, torch.vmap(lambda t: t * 2)(x), product


@pytest.mark.parametrize("forward", [shapes, control])
def test_guards_expressions_and_control_flow_of_torch_itself(tmp_path: Path, forward: Any) -> None:
    args = torch.ones(6, 4), torch.ones(6, 4) if forward is shapes else torch.ones(4, 4)
    found, outputs = exported(tmp_path, forward, *args, dynamic={"x": {0: Dim.AUTO}, "y": None})
    assert found[0] == "x: FP32 [-1, 4]"
    assert len(found) + len(outputs) == 5
    fixed, _ = exported(tmp_path, forward, *args)
    assert fixed[0] == "x: FP32 [6, 4]"


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (torch.nn.LSTM(4, 4, batch_first=True), (2, 3, 4)),
        (torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), (2, 3, 8)),
        (torch.nn.Sequential(torch.nn.Conv1d(3, 4, 2), torch.nn.BatchNorm1d(4), torch.nn.GELU()), (2, 3, 8)),
    ],
)
def test_modules_of_torch(tmp_path: Path, module: torch.nn.Module, shape: tuple[int, ...]) -> None:
    found, outputs = exported(tmp_path, module, torch.ones(shape), dynamic=({0: Dim.AUTO},))
    assert found[0].startswith("input: FP32 [-1, ") or found[0].startswith("src: FP32 [-1, ")
    assert outputs


def test_extra_files_are_text(tmp_path: Path) -> None:
    assert exported(tmp_path, lambda x: x + 1, ONES, extra={"labels.txt": "cat\ndog"})[1] == ["output: FP32 [2, 3]"]


@pytest.mark.parametrize(
    ("forward", "args", "options", "reason"),
    [
        (lambda x: x + 1, (torch.ones(2, dtype=torch.complex64),), {}, "'x': torch's type 10 has no OIP datatype"),
        (lambda x, n: x * n, (ONES, 3), {"dynamic": (None, Dim.DYNAMIC)}, "expected tensors as inputs, got"),
        (lambda x: {"a_0": x, "a": [x]}, (ONES,), {}, "expected keys that give distinct names to outputs, got a_0"),
    ],
)
def test_what_the_protocol_cannot_carry(tmp_path: Path, forward: Any, args: Any, options: Any, reason: str) -> None:
    programs.save(tmp_path / "m.pt2", forward, *args, **options)
    assert reason in refusal(tmp_path)


def test_no_and_two_files(classifier: Path) -> None:
    (classifier / "sub").mkdir()
    (classifier / "sub" / "n.pt2").write_bytes((classifier / "m.pt2").read_bytes())
    assert refusal(classifier) == "format torch_export: expected exactly one .pt2 file, got m.pt2, sub/n.pt2"
    (classifier / "m.pt2").unlink()
    assert read_signature(classifier).inputs
    (classifier / "sub" / "n.pt2").rename(classifier / "n.pt")
    assert refusal(classifier) == "format torch_export: expected exactly one .pt2 file, got none"


def test_cut_off_anywhere(classifier: Path) -> None:
    whole = (classifier / "m.pt2").read_bytes()
    for length in [*range(0, len(whole), 61), len(whole) - 1]:
        (classifier / "m.pt2").write_bytes(whole[:length])
        assert refusal(classifier)


def test_damaged_bytes_are_refused_or_read_but_never_anything_else(classifier: Path) -> None:
    chance = random.Random(7)
    whole = (classifier / "m.pt2").read_bytes()
    refused = 0
    for _ in range(600):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        (classifier / "m.pt2").write_bytes(data)
        try:
            read_signature(classifier)
        except InvalidInputError:
            refused += 1
    assert 0 < refused < 600


def test_damaged_programs_are_refused_or_read_but_never_anything_else(classifier: Path) -> None:
    """As above, but where the zip file is sound: values of the document are replaced."""
    chance = random.Random(11)
    content = programs.entries(classifier / "m.pt2")
    strange: list[Any] = [None, -1, 2**70, 1.5, True, "", "\0", "x" * 5000, [], {}, [[]], {"a": {}}, {"as_int": None}]
    for _ in range(400):
        program = json.loads(content[programs.PROGRAM])
        places = [(p, key) for p in containers(program) for key in (p if isinstance(p, dict) else range(len(p)))]
        place, key = chance.choice(places)
        place[key] = chance.choice(strange)
        programs.write(classifier / "m.pt2", content | {programs.PROGRAM: json.dumps(program).encode()})
        with contextlib.suppress(InvalidInputError):
            read_signature(classifier, allow_unsafe=chance.random() < 0.5)


def containers(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    found = [value] if isinstance(value, dict | list) else []
    return found + [c for v in inner for c in containers(v)]


def test_another_schema(classifier: Path) -> None:
    programs.edit(
        classifier / "m.pt2", lambda p: p.update(schema_version={"major": 9, "minor": 0}, torch_version="3.0")
    )
    assert "expected schema 8 of torch.export, got 9, written by torch 3.0" in refusal(classifier)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: call(p).update(out_spec="[]"), "expected out_spec as torch 2.13 writes it"),
        (lambda p: call(p).update(out_spec='[1, {"type": 7}]'), "expected "),
        (lambda p: p["graph_module"].update(module_call_graph=[]), "expected out_spec as torch 2.13 writes it, got ''"),
        (lambda p: specs(p)["output_specs"].clear(), "expected 1 outputs, as the module returns them; got 0"),
        (lambda p: specs(p)["output_specs"].append({"loss_output": {}}), "expected a program for inference"),
        (lambda p: graph(p)["tensor_values"].pop("x"), "'x': expected a tensor of the graph, got none of that name"),
        (
            lambda p: graph(p)["tensor_values"]["x"].update(layout=2),
            "'x': expected a dense tensor, got one of layout 2",
        ),
        (lambda p: p["graph_module"].pop("graph"), "missing required field `graph`"),
        (lambda p: dimension(p, 2**63), "m.pt2: input 'x': expected dimensions of 0 to 9223372036854775807, or -1 for"),
        (lambda p: dimension(p, 2**70), "or -1 for any, got 1180591620717411303424"),
        (lambda p: dimension(p, -7), "or -1 for any, got -7"),
    ],
)
def test_programs_that_contradict_themselves(
    classifier: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    programs.edit(classifier / "m.pt2", change)
    assert reason in refusal(classifier)


def dimension(program: dict[str, Any], value: int) -> None:
    graph(program)["tensor_values"]["x"]["sizes"][1] = {"as_int": value}


def test_names_that_no_message_carries(classifier: Path) -> None:
    lone: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    named = {"type": "builtins.dict", "context": json.dumps(["\ud800"]), "children_spec": [lone]}
    programs.edit(classifier / "m.pt2", lambda p: call(p).update(out_spec=json.dumps([1, named])))
    expected = "m.pt2: output '\\ud800': expected a name, without control characters"
    assert refusal(classifier, allow_unsafe=True) == expected


def test_outputs_nested_too_deeply(classifier: Path) -> None:
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    for _ in range(MAX_DEPTH + 2):
        leaf = {"type": "builtins.tuple", "context": "null", "children_spec": [leaf]}
    programs.edit(classifier / "m.pt2", lambda p: call(p).update(out_spec=json.dumps([1, leaf])))
    assert "expected out_spec as torch 2.13 writes it" in refusal(classifier)
