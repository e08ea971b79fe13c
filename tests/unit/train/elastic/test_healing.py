"""States that go from rank to rank."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import torch

from modelyard.errors import InvalidInputError
from modelyard.train.elastic.group import Group
from modelyard.train.elastic.healing import give, pass_over, take
from modelyard.train.reduction import GroupLost
from tests.unit.train.elastic.groups import Ranks

STATE: dict[str, Any] = {
    "module": {
        "w": torch.arange(21.0).view(3, 7),
        "t": torch.arange(12).view(3, 4).t(),
        "half": torch.ones(3).bfloat16(),
    },
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "groups": [{"betas": (0.9, 0.999), "lr": 1 / 3}]},
    "none": None,
    "empty": torch.zeros(0, 4),
    "flags": torch.tensor([True, False]),
}


@pytest.mark.parametrize("piece_bytes", [7, 64, 1 << 20])
def test_a_state_arrives_as_it_was(ranks: Ranks, piece_bytes: int) -> None:
    def part(group: Group) -> Any:
        if group.rank == 1:
            return give(group, STATE, piece_bytes)
        return take(group, 1, piece_bytes) if group.rank == 0 else pass_over(group, 1, piece_bytes)

    groups = ranks.groups(3)
    found, *nothing = ranks.all(groups, part)
    assert nothing == [None, None]
    assert found["optimizer"]["groups"] == STATE["optimizer"]["groups"]
    assert list(found) == list(STATE)
    expected = {**STATE["module"], "step": STATE["optimizer"]["state"][0]["step"]}
    actual = {**found["module"], "step": found["optimizer"]["state"][0]["step"]}
    for name, value in {**expected, "empty": STATE["empty"], "flags": STATE["flags"]}.items():
        torch.testing.assert_close({**actual, **found}[name], value, rtol=0, atol=0)
    for group in groups:
        group.drop()


@pytest.mark.parametrize("damaged", ["header", "tensors"])
def test_what_came_otherwise_than_it_was_sent_is_not_taken(
    ranks: Ranks, monkeypatch: pytest.MonkeyPatch, damaged: str
) -> None:
    broadcast, pieces = Group.broadcast, []

    def broken(group: Group, tensor: torch.Tensor, source: int) -> None:
        broadcast(group, tensor, source)
        if group.rank == 0 and tensor.dtype == torch.uint8 and len(tensor) > 32:
            pieces.append(tensor)
            tensor[5] += len(pieces) == (1 if damaged == "header" else 2)

    monkeypatch.setattr(Group, "broadcast", broken)
    groups = ranks.groups(2)
    giving = ranks.begin(lambda: give(groups[1], STATE))
    with pytest.raises(GroupLost, match="another digest"):
        take(groups[0], 1)
    groups[0].drop()
    with suppress(GroupLost):  # it may still be sending
        giving.result(30)
    groups[1].drop()


def test_a_state_of_what_cannot_be_sent_is_refused(ranks: Ranks) -> None:
    (group,) = ranks.groups(1)
    with pytest.raises(InvalidInputError, match="state: odd: expected"):
        give(group, {"odd": object()})
    with pytest.raises(InvalidInputError, match="state: sparse: expected a dense tensor"):
        give(group, {"sparse": torch.eye(3).to_sparse()})
    group.drop()
