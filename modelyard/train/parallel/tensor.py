"""Tensor parallelism: layers whose weights are spread over ranks (Shoeybi et al., "Megatron-LM", 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module

from modelyard.errors import InvalidInputError

Plan = dict[str, ParallelStyle]
_ELEMENTWISE = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.LeakyReLU, nn.Softplus, nn.Identity)


@runtime_checkable
class TensorPlanned(Protocol):
    """A recipe that says which layers of its model are shared, and how."""

    def tensor_plan(self, model: nn.Module) -> Mapping[str, ParallelStyle]:
        """Return styles of torch.distributed.tensor.parallel by the modules' names."""
        ...


def share_layers(recipe: object, model: nn.Module, stages: Sequence[nn.Module], stage: int, axis: DeviceMesh) -> None:
    """Spread a stage's layers along an axis, by the recipe's plan for the whole model, or by the default one.

    Raises:
        InvalidInputError: the recipe has no plan and none follows from the model, or the plan names no module.
    """
    if axis.size() == 1:
        return
    if isinstance(recipe, TensorPlanned):
        plan = _of_stage(recipe.tensor_plan(model), model, stages[stage])
    else:
        plans = [default_plan(one, axis.size()) for one in stages]
        if not any(plans):
            raise InvalidInputError(
                f"tensor {axis.size()}: expected a recipe with tensor_plan(model), or an nn.Sequential with two "
                f"nn.Linear, only elementwise layers between and a width that it divides; got {type(model).__name__}"
            )
        plan = plans[stage]
    parallelize_module(stages[stage], axis, plan)


def default_plan(model: nn.Module, ranks: int) -> Plan:
    """Return a plan for an nn.Sequential, empty for others: each two nn.Linear with only elementwise layers between.

    The first is cut by outputs and the second by inputs, so that there is one sum over the ranks for both. The width
    between must be a multiple of `ranks`.
    """
    plan: Plan = {}
    first: tuple[str, nn.Linear] | None = None
    for name, layer in _layers(model) if isinstance(model, nn.Sequential) else ():
        if isinstance(layer, _ELEMENTWISE):
            continue
        if first and isinstance(layer, nn.Linear) and first[1].out_features % ranks == 0:
            plan |= {first[0]: ColwiseParallel(), name: RowwiseParallel()}
            first = None
        else:
            first = (name, layer) if isinstance(layer, nn.Linear) else None
    return plan


def _layers(model: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Layers in the order in which they are called; those of nested ones too."""
    for name, layer in model.named_children():
        if isinstance(layer, nn.Sequential):
            yield from _layers(layer, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", layer


def _of_stage(plan: Mapping[str, ParallelStyle], model: nn.Module, stage: nn.Module) -> Plan:
    """The part of a plan that is about a stage, with the names that its modules have there."""
    modules = dict(model.named_modules())
    for name in plan:
        if name not in modules:
            raise InvalidInputError(f"tensor_plan: expected names of the model's modules, got {name!r:.80}")
    styles = {id(modules[name]): style for name, style in plan.items()}
    return {name: styles[id(module)] for name, module in stage.named_modules() if id(module) in styles}
