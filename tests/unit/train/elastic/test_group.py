"""Groups: their collectives, and that nobody waits for one that is lost."""

from __future__ import annotations

import pytest
import torch

from modelyard.train.elastic.group import Group, Seat
from modelyard.train.elastic.rendezvous import Timeouts
from modelyard.train.reduction import GroupLost
from tests.unit.train.elastic.groups import Ranks
from tests.waiting import wait_until


def test_ranks_sum_gather_and_broadcast(ranks: Ranks) -> None:
    groups = ranks.groups(3)
    values = [torch.tensor([float(rank), 1.0], dtype=torch.float64) for rank in range(3)]
    assert [total.tolist() for total in ranks.all(groups, lambda g: g.sum(values[g.rank]))] == [[3.0, 3.0]] * 3
    assert [value.tolist() for value in values] == [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
    gathered = ranks.all(groups, lambda g: g.all_gather(torch.tensor([g.rank])))
    assert [torch.cat(one).tolist() for one in gathered] == [[0, 1, 2]] * 3
    sent = [torch.tensor([rank]) for rank in range(3)]
    ranks.all(groups, lambda g: g.broadcast(sent[g.rank], 1))
    assert [int(value) for value in sent] == [1, 1, 1]
    for group in groups:
        group.drop()


def test_who_waits_for_a_silent_rank_goes_on_when_the_group_is_lost(ranks: Ranks) -> None:
    first, silent = ranks.groups(2)
    waiting = ranks.begin(lambda: first.sum(torch.ones(1)))
    wait_until(lambda: first.waits)
    assert not silent.waits
    copy = torch.ones(4)
    pending = first.all_reduce(copy, result=copy)
    assert not waiting.done()
    assert not pending.done()
    first.lose("told so")
    first.lose("and again")
    with pytest.raises(GroupLost, match=r"^told so$"):
        waiting.result(30)
    assert pending.wait() is copy
    with pytest.raises(GroupLost):
        first.sum(torch.ones(1))
    assert first.all_reduce(copy, result=copy).done()
    first.drop()
    silent.drop()


def test_who_waits_for_the_others_to_come_goes_on_when_the_group_is_lost(ranks: Ranks) -> None:
    group = Group(Seat(ranks.formation(2), 0))
    waiting = ranks.begin(group.connect)
    wait_until(lambda: group._pending)
    group.lose("told so")
    with pytest.raises(GroupLost, match="told so"):
        waiting.result(30)
    group.drop()


def test_a_peer_that_drops_the_group_is_noticed(ranks: Ranks) -> None:
    first, second = ranks.groups(2)
    waiting = ranks.begin(lambda: first.sum(torch.ones(1)))
    wait_until(lambda: first._pending)
    second.drop()
    with pytest.raises(GroupLost, match="a collective failed: "):
        waiting.result(30)
    first.drop()
    assert first.gone(30)
    assert second.gone(30)


def test_a_store_that_is_not_there_is_a_lost_group(ranks: Ranks) -> None:
    formation = ranks.formation(1)
    group = Group(Seat(type(formation)(1, ("m0",), ("127.0.0.1",), "127.0.0.1:1"), 0), Timeouts(store=0.2))
    with pytest.raises(GroupLost, match="formation 1 could not be formed: "):
        group.connect()
