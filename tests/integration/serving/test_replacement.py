"""A placement that changes: the new instance is loaded beside the old one, and takes its place when it is READY."""

from __future__ import annotations

import signal

from modelyard.deployment import Instance, InstanceOptions, InstanceState
from modelyard.etcd import Etcd
from tests import models
from tests.integration.serving.machine import MEMORY_BYTES, Machine
from tests.integration.serving.traffic import own_runners
from tests.servers import ProgramServer
from tests.waiting import eventually

READY, FAILED, LOADING, UNLOADING = (
    InstanceState.READY,
    InstanceState.FAILED,
    InstanceState.LOADING,
    InstanceState.UNLOADING,
)


async def served_with(machine: Machine, options: InstanceOptions) -> Instance:
    """Wait until the model is READY with these options."""

    async def found() -> Instance | None:
        instance = await machine.instance("m")
        return instance if instance and (instance.state, instance.options) == (READY, options) else None

    instance = await eventually(found)
    assert instance is not None
    return instance


async def test_the_new_one_is_ready_before_the_old_one_goes(machine: Machine) -> None:
    digest = machine.store("a", models.mlp((4, 2)))
    await machine.place("m", digest)
    first = await machine.becomes("m", READY)
    (old,) = own_runners()
    await machine.place("m", digest, threads=2)
    second = await served_with(machine, InstanceOptions(threads=2))
    assert second.endpoint != first.endpoint
    await eventually(lambda: not old.lives)
    assert len(own_runners()) == 1
    assert machine.states("m") == [LOADING, READY, READY]


async def test_where_both_do_not_fit_the_old_one_goes_first(machine: Machine) -> None:
    digest, most = machine.store("a", models.mlp((4, 2))), 3 * MEMORY_BYTES // 4
    await machine.place("m", digest, most)
    await machine.becomes("m", READY)
    (old,) = own_runners()
    await machine.place("m", digest, most, threads=2)
    await served_with(machine, InstanceOptions(threads=2))
    assert not old.lives
    assert machine.states("m") == [LOADING, READY, UNLOADING, LOADING, READY]


async def test_what_others_have_reserved_counts_and_what_is_on_its_way_out_is_waited_for(machine: Machine) -> None:
    digest, third = machine.store("a", models.mlp((4, 2))), MEMORY_BYTES // 3
    await machine.place("m", digest, third)
    await machine.becomes("m", READY)
    await machine.place("n", digest, third)
    await machine.becomes("n", READY)
    for threads in (2, 3):  # when the second comes, the first copy may still be there
        await machine.place("m", digest, third, threads=threads)
        await served_with(machine, InstanceOptions(threads=threads))
    assert set(machine.states("m")[1:]) == {READY}
    await machine.place("o", digest, third // 2)
    await machine.becomes("o", READY)
    await machine.place("m", digest, third)
    await served_with(machine, InstanceOptions())
    assert machine.states("m")[-3:] == [UNLOADING, LOADING, READY]


async def test_other_content_under_the_same_name_replaces_it(machine: Machine) -> None:
    await machine.place("m", machine.store("a", models.mlp((4, 2))))
    await machine.becomes("m", READY)
    await machine.place("m", machine.store("b", models.mlp((6, 2))))

    async def other() -> bool:
        instance = await machine.instance("m")
        return instance is not None and instance.state is READY and instance.signature.inputs[0].shape == (-1, 6)

    await eventually(other)
    assert machine.states("m") == [LOADING, READY, READY]


async def test_while_the_new_one_fails_the_old_one_stays_and_says_why(machine: Machine) -> None:
    digest = machine.store("a", models.mlp((4, 2)))
    await machine.place("m", digest)
    first = await machine.becomes("m", READY)
    await machine.place("m", machine.store("b", models.unimplemented()))
    await eventually(lambda: machine.said[-1].failures == 2)
    failed = machine.said[-1]
    assert (failed.state, failed.endpoint, failed.options) == (READY, first.endpoint, first.options)
    assert failed.reason.startswith("with the placement's new options: load failed: NotImplemented: ")
    await machine.place("m", digest)
    await eventually(lambda: machine.said[-1] == first)
    await eventually(lambda: len(own_runners()) == 1)
    assert set(machine.states("m")[1:]) == {READY}


async def test_one_withdrawn_while_it_changes_leaves_nothing(machine: Machine) -> None:
    digest = machine.store("a", models.mlp((4, 2)))
    await machine.place("m", digest)
    await machine.becomes("m", READY)
    await machine.place("m", digest, threads=2)
    await eventually(lambda: len(own_runners()) == 2)
    await machine.withdraw("m")
    await machine.is_gone("m")
    assert own_runners() == []
    assert machine.states("m")[-1] is UNLOADING


async def test_one_that_changes_before_it_is_ready_is_begun_anew(machine: Machine) -> None:
    await machine.place("m", "b" * 64)  # nobody has that artifact
    await machine.becomes("m", LOADING)
    await machine.place("m", machine.store("a", models.mlp((4, 2))))
    await machine.becomes("m", READY)
    assert UNLOADING not in machine.states("m")


async def test_one_that_changes_again_and_again_ends_as_the_last(machine: Machine) -> None:
    digest = machine.store("a", models.mlp((4, 2)))
    await machine.place("m", digest)
    await machine.becomes("m", READY)
    for threads in (2, 3, 4):
        await machine.place("m", digest, threads=threads)
    await served_with(machine, InstanceOptions(threads=4))
    await eventually(lambda: len(own_runners()) == 1)
    assert set(machine.states("m")[1:]) == {READY}


async def test_the_old_one_dies_while_the_new_one_loads(machine: Machine) -> None:
    digest = machine.store("a", models.mlp((4, 2)))
    await machine.place("m", digest)
    await machine.becomes("m", READY)
    (old,) = own_runners()
    await machine.place("m", digest, threads=2)
    old.signal(signal.SIGKILL)
    await served_with(machine, InstanceOptions(threads=2))
    await eventually(lambda: len(own_runners()) == 1)


async def test_as_long_as_nobody_can_know_the_new_one_the_old_one_stays(
    machine: Machine, etcd: Etcd, etcd_server: ProgramServer
) -> None:
    digest = machine.store("a", models.mlp((4, 2)))
    await machine.place("m", digest)
    await machine.becomes("m", READY)
    (old,) = own_runners()
    await machine.place("m", digest, threads=2)
    await eventually(lambda: len(own_runners()) == 2)
    etcd_server.suspend()
    try:
        await eventually(lambda: not machine.session.settled.is_set())
        assert old.lives
    finally:
        etcd_server.resume()
    await served_with(machine, InstanceOptions(threads=2))
    await eventually(lambda: not old.lives)
