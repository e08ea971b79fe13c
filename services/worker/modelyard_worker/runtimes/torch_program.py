"""Programs of torch.export: loaded as data, and made into a function of flat inputs.

torch.export.load reads JSON and plain bytes, except that it unpickles the example inputs (and falls back to an
unpickler that restricts nothing), and objects of an author's own classes. So an archive is vetted first, by the very
rules by which the registry accepts it, and loaded with torch's restricted unpickler forced. A version that was pushed
with --allow-unsafe and needs more than that is refused here: a runner executes no code of an artifact.
"""

from __future__ import annotations

import math
import operator
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch._functorch import predispatch
from torch._ops import HigherOrderOperator, OpOverload
from torch.export.graph_signature import ConstantArgument, OutputKind, TensorArgument
from torch.export.passes import move_to_device_pass

from modelyard import torch_export
from modelyard.catalogue import Signature
from modelyard.errors import InvalidInputError

_FORCE_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_loading = threading.Lock()
"""Held while the process is told to unpickle weights only."""


class Program:
    """A program on a device, called with its tensors in the signature's order.

    `signature` is read from the archive as the registry reads it.
    """

    def __init__(self, path: Path, device: torch.device, *, relaxed: bool) -> None:
        """Load an archive; `relaxed`: without its assertions on datatypes, for a precision other than its own.

        Raises:
            InvalidInputError: it is not an archive that is read without running code, or torch cannot load it.
        """
        self.signature = torch_export.read_signature(path)
        program = _load(path, device)
        self._inputs = _inputs(path.name, program, self.signature)
        self._outputs = _outputs(path.name, program, self.signature)
        self._forward = _flat(program, relaxed=relaxed)

    def __call__(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Execute; return the outputs in the signature's order. Raises what torch raises."""
        waiting = iter(tensors)
        found = self._forward(*(next(waiting) if fixed is _TENSOR else fixed for fixed in self._inputs))
        return [found[index] for index in self._outputs]


_TENSOR = object()
"""Stands among a program's inputs where the caller's tensor goes."""


_PYTHON = (
    *(getattr(operator, name) for name in ("abs", "add", "and_", "eq", "floordiv", "ge", "getitem", "gt", "le")),
    *(getattr(operator, name) for name in ("lshift", "lt", "mod", "mul", "ne", "neg", "not_", "or_", "pos", "pow")),
    *(operator.rshift, operator.sub, operator.truediv, math.ceil, math.floor, math.trunc),
    *(value for name, value in vars(torch).items() if name.startswith("sym_")),
    predispatch._add_batch_dim,
    predispatch._remove_batch_dim,
    predispatch._vmap_increment_nesting,
    predispatch._vmap_decrement_nesting,
    predispatch.lazy_load_decompositions,
)
"""What a program may call beside torch's operators: arithmetic on shapes, and what vmap leaves in it."""


def _load(path: Path, device: torch.device) -> torch.export.ExportedProgram:
    try:
        with _weights_only():
            program = torch.export.load(path)
        _check_operators(program)
        return program if device.type == "cpu" and _is_on_cpu(program) else move_to_device_pass(program, str(device))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        raise InvalidInputError(
            f"{path.name}: expected an archive that torch {torch.__version__} loads on {device}: {reason}"
        ) from error


def _check_operators(program: torch.export.ExportedProgram) -> None:
    """Raise TypeError if the program calls, or hands on to be called, anything but operators."""
    graphs = [module.graph for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule)]
    for node in (node for graph in graphs for node in graph.nodes):
        if node.op not in {"placeholder", "get_attr", "call_function", "output"}:
            raise TypeError(f"expected calls of operators, got {node.op} of {str(node.target)[:80]!r}")
        for called in _called(node):
            if not (isinstance(called, OpOverload | HigherOrderOperator) or any(called is known for known in _PYTHON)):
                raise TypeError(f"expected an operator of torch, got {str(called)[:80]!r}")


def _called(node: torch.fx.Node) -> list[object]:
    found: list[object] = [node.target] if node.op == "call_function" else []

    def note(value: Any) -> Any:
        if callable(value):
            found.append(value)
        return value

    torch.fx.node.map_aggregate((node.args, node.kwargs), note)
    return found


def _is_on_cpu(program: torch.export.ExportedProgram) -> bool:
    return all(tensor.device.type == "cpu" for tensor in (*program.state_dict.values(), *_tensors(program.constants)))


def _tensors(constants: dict[str, Any]) -> Iterator[torch.Tensor]:
    return (value for value in constants.values() if isinstance(value, torch.Tensor))


@contextmanager
def _weights_only() -> Iterator[None]:
    """Within, torch.load unpickles nothing but tensors, whatever its caller asks for."""
    with _loading:
        before = os.environ.get(_FORCE_WEIGHTS_ONLY)
        os.environ[_FORCE_WEIGHTS_ONLY] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_FORCE_WEIGHTS_ONLY]
            else:
                os.environ[_FORCE_WEIGHTS_ONLY] = before


def _inputs(name: str, program: torch.export.ExportedProgram, signature: Signature) -> list[Any]:
    """What the program takes, flat: _TENSOR, or the constant that it was exported with."""
    arguments = [spec.arg for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]
    found = [argument.name for argument in arguments if isinstance(argument, TensorArgument)]
    wanted = [tensor.name for tensor in signature.inputs]
    if found != wanted:
        raise InvalidInputError(f"{name}: expected the inputs {', '.join(wanted)}; torch finds {', '.join(found)}")
    return [argument.value if isinstance(argument, ConstantArgument) else _TENSOR for argument in arguments]


def _outputs(name: str, program: torch.export.ExportedProgram, signature: Signature) -> list[int]:
    """Where the signature's outputs are among what the program returns, flat."""
    specs = [spec for spec in program.graph_signature.output_specs if spec.kind is OutputKind.USER_OUTPUT]
    found = [index for index, spec in enumerate(specs) if isinstance(spec.arg, TensorArgument)]
    if len(found) != len(signature.outputs):
        raise InvalidInputError(f"{name}: expected {len(signature.outputs)} outputs; torch finds {len(found)}")
    return found


def _flat(program: torch.export.ExportedProgram, *, relaxed: bool) -> Callable[..., Any]:
    """The program as a function of flat inputs that returns a flat tuple: nesting is the signature's business."""
    module: Any = program.module()
    if relaxed:
        for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten._assert_tensor_metadata.default):
            module.graph.erase_node(node)
    module.graph.set_codegen(torch.fx.graph.CodeGen())
    module.recompile()
    return module.forward  # type: ignore[no-any-return]
