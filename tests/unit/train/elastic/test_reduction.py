"""DDP over groups that can be lost."""

from __future__ import annotations

from typing import TypeVar

import pytest
import torch
from torch import nn
from torch.futures import Future

from modelyard.errors import InvalidInputError
from modelyard.train.elastic.group import Group
from modelyard.train.elastic.reduction import ElasticReduction
from modelyard.train.reduction import GroupLost
from tests.unit.train.elastic.groups import Ranks
from tests.waiting import wait_until

T = TypeVar("T")
INPUTS = torch.arange(24.0).view(8, 3) / 24


def module() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def gradients(of: nn.Module) -> torch.Tensor:
    return torch.cat([value.grad.flatten() for value in of.parameters() if value.grad is not None])


def passed(reduction: ElasticReduction, wrapped: nn.Module, rows: torch.Tensor, last: bool = True) -> None:
    with reduction.accumulating(wrapped, last):
        wrapped(rows).sum().backward()


def test_gradients_are_sums_over_ranks_and_passes(ranks: Ranks) -> None:
    modules = [module(), module()]

    def part(group: Group) -> None:
        reduction = ElasticReduction(group)
        wrapped = reduction.wrap(modules[group.rank])
        for _ in range(3):  # DDP orders its buckets anew after the first
            wrapped.zero_grad()
            passed(reduction, wrapped, INPUTS[group.rank : 4 : 2], last=False)
            passed(reduction, wrapped, INPUTS[4 + group.rank :: 2])
        reduction.close()
        group.drop()

    ranks.all(ranks.groups(2), part)
    alone = module()
    alone(INPUTS).sum().backward()
    torch.testing.assert_close(gradients(modules[0]), gradients(alone))
    assert torch.equal(gradients(modules[0]), gradients(modules[1]))
    modules[0].zero_grad()
    modules[0](INPUTS).sum().backward()  # nothing of DDP is left
    torch.testing.assert_close(gradients(modules[0]), gradients(alone))


@pytest.mark.parametrize("before", [0, 1], ids=["first pass", "second pass, where DDP sends by itself"])
def test_a_backward_pass_ends_when_the_group_is_lost(ranks: Ranks, before: int) -> None:
    groups = ranks.groups(2)
    reductions = [ElasticReduction(group) for group in groups]
    wrapped = [reduction.wrap(module()) for reduction in reductions]
    for _ in range(before):
        ranks.all(groups, lambda group: passed(reductions[group.rank], wrapped[group.rank], INPUTS))
    waiting = ranks.begin(lambda: passed(reductions[1], wrapped[1], INPUTS))
    wait_until(lambda: groups[1]._pending)
    groups[1].lose("told so")
    with pytest.raises(GroupLost, match="told so"):
        waiting.result(30)
    with pytest.raises(GroupLost):
        passed(reductions[1], wrapped[1], INPUTS)
    for reduction, group in zip(reductions, groups, strict=True):
        reduction.close()
        group.drop()


def test_a_parameter_without_a_part_in_the_loss_is_named(ranks: Ranks) -> None:
    class Partial(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(3, 1), nn.Linear(3, 1)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.used(rows)
            return found

    (group,) = ranks.groups(1)
    reduction = ElasticReduction(group)
    with pytest.raises(InvalidInputError, match=r"one without idle\.weight, idle\.bias"):
        passed(reduction, reduction.wrap(Partial()), INPUTS)
    reduction.close()
    group.drop()


def test_what_is_closed_in_the_middle_of_a_pass_sums_no_more(ranks: Ranks) -> None:
    (group,) = ranks.groups(1)
    reduction, trained = ElasticReduction(group), module()
    wrapped = reduction.wrap(trained)
    wrapped(INPUTS)  # whose backward pass never comes
    reduction.close()
    trained(INPUTS).sum().backward()
    assert not reduction._summed
    group.drop()


class Written:
    """All that torch was given to write into."""

    def __init__(self) -> None:
        self._tensors: list[torch.Tensor] = []

    def follow(self, group: Group, monkeypatch: pytest.MonkeyPatch) -> Group:
        begin = group.all_reduce

        def begun(tensor: torch.Tensor, result: T) -> Future[T]:
            self._tensors.append(tensor)
            return begin(tensor, result)

        monkeypatch.setattr(group, "all_reduce", begun)
        return group

    def spoil(self) -> None:
        for tensor in self._tensors:
            tensor.fill_(torch.nan)


def descend(of: nn.Module) -> None:
    with torch.no_grad():
        for value in of.parameters():
            assert value.grad is not None
            value.sub_(value.grad, alpha=0.1)
    of.zero_grad()


@pytest.mark.parametrize("before", [0, 1, 2])
def test_what_torch_writes_late_is_part_of_no_gradients_and_no_weights(
    ranks: Ranks, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    trained, written = module(), Written()

    def begin() -> tuple[Group, ElasticReduction, nn.Module]:
        group = written.follow(ranks.groups(1)[0], monkeypatch)
        reduction = ElasticReduction(group)
        return group, reduction, reduction.wrap(trained)

    def steps(reduction: ElasticReduction, wrapped: nn.Module, count: int) -> None:
        for _ in range(count):
            passed(reduction, wrapped, INPUTS[:4], last=False)
            written.spoil()
            passed(reduction, wrapped, INPUTS[4:])
            written.spoil()
            descend(trained)

    group, reduction, wrapped = begin()
    steps(reduction, wrapped, before)
    passed(reduction, wrapped, INPUTS[:4], last=False)
    wrapped.register_forward_hook(lambda *_: group.lose("told so"))  # before the backward pass
    with pytest.raises(GroupLost):
        passed(reduction, wrapped, INPUTS[4:])
    trained.zero_grad()  # as a step does that was interrupted
    reduction.close()
    group.drop()
    group, reduction, wrapped = begin()
    steps(reduction, wrapped, 2)
    reduction.close()
    group.drop()
    alone = module()
    for _ in range(before + 2):
        alone(INPUTS).sum().backward()
        descend(alone)
    for value, expected in zip(trained.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(value, expected)
