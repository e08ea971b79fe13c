"""The operators of an ONNX model: are they ONNX's and ONNX Runtime's own, or do they need a library of somebody's?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

from modelyard.errors import InvalidInputError

BUILT_IN = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft"})
"""The domains of ONNX itself, and of what ONNX Runtime brings with it."""

CONVERSION = (
    "convert it: export the model anew with operators of ONNX itself, or with each of your own as a function of the "
    "model (onnx.helper.make_function) that is made of them"
)
"""How to get a model that runs without a library of custom operators."""


def refuse_custom_operators(name: str, model: onnx.ModelProto) -> None:
    """Raise InvalidInputError if a node, of subgraphs and functions too, needs custom code; `name` is the file's."""
    functions = {(function.domain, function.name) for function in model.functions}
    for node in _nodes(model):
        if node.domain not in BUILT_IN and (node.domain, node.op_type) not in functions:
            raise InvalidInputError(
                f"{name}: node {node.name[:80]!r}: expected operators of ONNX and of ONNX Runtime, "
                f"got {node.op_type[:80]!r} of the domain {node.domain[:80]!r}, which is custom code; {CONVERSION}"
            )


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    yield from _inner(model.graph.node)
    for training in model.training_info:
        yield from _inner((*training.initialization.node, *training.algorithm.node))
    for function in model.functions:
        yield from _inner(function.node)
        yield from _of_attributes(function.attribute_proto)


def _inner(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, and those of the graphs that they have as attributes."""
    for node in nodes:
        yield node
        yield from _of_attributes(node.attribute)


def _of_attributes(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.NodeProto]:
    for attribute in attributes:
        for graph in (attribute.g, *attribute.graphs):
            yield from _inner(graph.node)
