"""A network that is cut between the processes of a job: one part at most goes on, and all do when it is mended."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard import codec, keys
from modelyard.etcd import Etcd
from modelyard.train.control.fence import Record
from tests.integration.train.elastic.gang import SETTLE_S, Control, Gang, Nursery
from tests.integration.train.elastic.links import Link
from tests.integration.train.elastic.rank import CUT
from tests.integration.train.elastic.test_loss import check, formed
from tests.servers import ProgramServer
from tests.waiting import eventually

LIMITS = {"min_workers": 1, "max_workers": 2}
GATES = (5, 12)


class Divided(Gang):
    """One job of two ranks, a and b, that reach the control process, and this etcd, by links of their own."""

    def __init__(self, nursery: Nursery, directory: Path, etcd: Etcd, link: Link) -> None:
        super().__init__(nursery, directory, link.address, settle_s=SETTLE_S, **LIMITS)
        self.etcd_link = link
        self.links: dict[str, Link] = {}
        self._etcd = etcd
        self._others: list[Control] = []

    async def begin(self, **plans: int) -> None:
        """Start all; return when both ranks wait at the first gate."""
        await self.start_control()
        for name in "ab":
            self.links[name] = await Link((self.directory / "control").read_text()).open()
            self.tell(name, self.links[name].address)
            self.start(name, control=f"control-{name}", gates=GATES, **plans)
        for name in "ab":
            await self.reaches(name, "step", GATES[0])

    async def start_other(self) -> str:
        """Start a control process that reaches etcd; return its address, once the first one's term has ended."""
        self._others.append(Control(self.directory, self._etcd.endpoints, **LIMITS))
        return await self._others[-1].start("other")

    def tell(self, name: str, address: str) -> None:
        """Let a rank know where the control process is, as its worker's agent does."""
        (self.directory / "new").write_text(address)
        (self.directory / "new").rename(self.directory / f"control-{name}")

    async def forms(self, *members: str) -> None:
        """Wait until these are who trains."""

        async def is_so() -> bool:
            found = await self._etcd.get(keys.training_formation("job"))
            return found is not None and codec.decode(Record, found.value).formation.members == members

        await eventually(is_so, 60)

    def came(self, control: str) -> set[str]:
        """The ranks that a control process has had."""
        said = map(json.loads, (self.directory / f"{control}.log").read_text().splitlines())
        return {entry["member"] for entry in said if entry["event"] == "member"}

    def last(self, name: str) -> int:
        """The last step that a rank has applied."""
        return max(int(event["done"]) for event in self.found(name, "done"))

    def advanced(self) -> dict[int, set[int]]:
        """For each step, the formations that have done it, and then the next."""
        done: defaultdict[int, set[int]] = defaultdict(set)
        for name in self.pids:
            for event in self.found(name, "done"):
                done[event["done"]].add(event["formation"])
        return {step: done[step] & done[step + 1] for step in tuple(done)}

    async def both_end(self) -> None:
        """Both come to the end; no two groups went on with the same step, and every sample was counted once."""
        await self.ends("a", "b")
        check(self, "a", "b")
        assert all(len(formations) <= 1 for formations in self.advanced().values())

    async def close(self) -> None:
        await super().close()
        for control in self._others:
            await control.kill()
        for link in (self.etcd_link, *self.links.values()):
            await link.close()


@pytest.fixture
async def divided(nursery: Nursery, etcd: Etcd, etcd_server: ProgramServer, tmp_path: Path) -> AsyncIterator[Divided]:
    made = Divided(nursery, tmp_path, etcd, await Link(etcd_server.endpoint).open())
    yield made
    await made.close()


async def test_the_part_without_etcd_does_not_go_on(divided: Divided) -> None:
    await divided.begin()
    divided.etcd_link.cut()
    divided.links["b"].cut()
    divided.tell("b", address := await divided.start_other())
    await divided.forms("b")
    divided.open_gate(GATES[0])
    await divided.reaches("b", "step", GATES[1])
    assert divided.last("a") == GATES[0]
    divided.etcd_link.mend()
    divided.links["b"].mend()
    divided.tell("a", address)
    await divided.reaches("b", "leaving")
    divided.open_gate(GATES[1])
    await divided.both_end()
    assert formed(divided, "b") == [2, 1, 2]


@pytest.mark.chaos
async def test_who_cannot_reach_the_control_process_does_not_go_on(divided: Divided) -> None:
    await divided.begin()
    divided.links["b"].cut()
    await divided.forms("a")
    divided.open_gate(GATES[0])
    await divided.reaches("a", "step", GATES[1])
    assert divided.last("b") == GATES[0]
    divided.links["b"].mend()
    await divided.reaches("a", "leaving")
    divided.open_gate(GATES[1])
    await divided.both_end()
    assert formed(divided, "a") == [2, 1, 2]


@pytest.mark.chaos
async def test_without_etcd_those_who_are_whole_train_on_and_take_who_has_it(divided: Divided) -> None:
    """The control process that is cut off etcd lives on, and has the ranks: they are told of the other one."""
    await divided.begin()
    divided.etcd_link.cut()
    divided.open_gate(GATES[0])
    for name in "ab":
        await divided.reaches(name, "step", GATES[1])
    address = await divided.start_other()
    for name in "ab":
        divided.tell(name, address)
    await eventually(lambda: divided.came("other") == {"a", "b"})
    divided.open_gate(GATES[1])
    await divided.both_end()
    assert formed(divided, "a") == formed(divided, "b") == [2]


async def test_ranks_that_are_cut_off_each_other_meet_again(divided: Divided) -> None:
    await divided.begin(at=random.randrange(*GATES), signal=CUT)
    for gate in GATES:
        divided.open_gate(gate)
    await divided.both_end()
    assert formed(divided, "a") == formed(divided, "b") == [2, 2]
