from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import AttributeProto, helper

from modelyard.errors import InvalidInputError
from modelyard_registry.formats.onnx_operators import CONVERSION, refuse_custom_operators
from modelyard_registry.formats.onnx_signature import read_signature
from tests import models

X, Y = models.tensor("x", "FP32", [2]), models.tensor("y", "FP32", [2])
OWN = helper.make_node("Mish2", ["x"], ["y"], name="n7", domain="my.ops")
PLAIN = helper.make_node("Identity", ["x"], ["y"])


def write(directory: Path, node: onnx.NodeProto, *functions: onnx.FunctionProto) -> None:
    domains = {"", node.domain, *(f.domain for f in functions), "my.ops"}
    opsets = [helper.make_opsetid(domain, 1 if domain else models.OPSET) for domain in sorted(domains)]
    made = helper.make_graph([node], "test", [X], [Y])
    model = helper.make_model(made, opset_imports=opsets, ir_version=models.IR_VERSION, functions=functions)
    models.save(model, directory / "m.onnx")


def function(node: onnx.NodeProto, **fields: object) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", models.OPSET), helper.make_opsetid("my.ops", 1)]
    return helper.make_function("local", "F", ["x"], ["y"], [node], opsets, **fields)  # type: ignore[arg-type]


def refusal(directory: Path) -> str:
    with pytest.raises(InvalidInputError) as caught:
        read_signature(directory)
    return caught.value.message


def test_an_operator_of_ones_own_is_refused_unless_allowed(tmp_path: Path) -> None:
    write(tmp_path, OWN)
    assert refusal(tmp_path) == (
        "m.onnx: node 'n7': expected operators of ONNX and of ONNX Runtime, got 'Mish2' of the domain 'my.ops', "
        f"which is custom code; {CONVERSION}"
    )
    assert read_signature(tmp_path, allow_unsafe=True).inputs


def test_operators_that_come_with_onnx_runtime(tmp_path: Path) -> None:
    write(tmp_path, helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft"))
    assert read_signature(tmp_path).inputs


@pytest.mark.parametrize("domain", ["", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "com.microsoft"])
def test_domains_of_no_custom_code(domain: str) -> None:
    nodes = [helper.make_node("Any", ["x"], ["y"], domain=domain)]
    refuse_custom_operators("m.onnx", helper.make_model(helper.make_graph(nodes, "test", [X], [Y])))


def test_functions_of_the_model_itself(tmp_path: Path) -> None:
    write(tmp_path, helper.make_node("F", ["x"], ["y"], domain="local"), function(PLAIN))
    assert read_signature(tmp_path).inputs
    write(tmp_path, helper.make_node("G", ["x"], ["y"], domain="local"), function(PLAIN))
    assert "got 'G' of the domain 'local'" in refusal(tmp_path)


def branching() -> onnx.NodeProto:
    """An operator of one's own in a branch inside a branch."""
    inner = helper.make_graph([OWN], "inner", [], [Y])
    outer = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], "outer", [], [Y]
    )
    return helper.make_node("If", ["c"], ["y"], then_branch=outer, else_branch=outer)


def test_in_subgraphs(tmp_path: Path) -> None:
    write(tmp_path, branching())
    assert "got 'Mish2' of the domain 'my.ops'" in refusal(tmp_path)


def test_in_functions(tmp_path: Path) -> None:
    caller = helper.make_node("F", ["x"], ["y"], domain="local")
    graph = helper.make_attribute("body", helper.make_graph([OWN], "body", [], [Y]))
    assert graph.type == AttributeProto.GRAPH
    for inside in (function(OWN), function(branching()), function(PLAIN, attribute_protos=[graph])):
        write(tmp_path, caller, inside)
        assert "got 'Mish2' of the domain 'my.ops'" in refusal(tmp_path)
