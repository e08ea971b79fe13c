"""What a runner holds: loaded once, found by name, unloaded whole."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from modelyard.deployment import InstanceOptions
from modelyard.errors import AlreadyExistsError, InvalidInputError, ModelExecutionError, NotFoundError
from modelyard.names import ModelVersion
from modelyard.oip.tensors import Array
from modelyard_worker.runner.models import LoadOrder, Models
from modelyard_worker.runtimes import Runtime
from tests import models as onnx_models
from tests.unit.worker.instances import Echo, request, values
from tests.waiting import eventually


class Engine:
    """Loads echoes, when it is let go; fails with what it is told to."""

    def __init__(self) -> None:
        self.loads: list[tuple[Any, ...]] = []
        self.copies: list[Echo] = []
        self.failure: Exception | None = None
        self.go = threading.Event()
        self.go.set()

    def load(self, *order: Any) -> Runtime:
        self.loads.append(order)
        self.go.wait(30)
        if self.failure is not None:
            raise self.failure
        self.copies.append(Echo())
        return self.copies[-1]


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def models(engine: Engine) -> Models:
    return Models(4, load=engine.load)


def order(version: str = "1", **options: Any) -> LoadOrder:
    return LoadOrder(ModelVersion("m", version), "w0", "onnx", Path("/files"), InstanceOptions(**options))


async def test_several_instances_are_held_at_once(models: Models, engine: Engine) -> None:
    await asyncio.gather(models.load(order("1")), models.load(order("2", copies=3)))
    assert [str(m.instance) for m in models.loaded()] == ["m@1", "m@2"]
    assert len(engine.loads) == 4
    assert engine.loads[0] == ("onnx", Path("/files"), InstanceOptions(), 4)
    for version in ("1", "2"):
        assert values(await models.find(f"m@{version}").infer(request(1), None)) == [1]
    assert await models.close(30)
    assert all(copy.closed for copy in engine.copies)


async def test_the_same_order_again_is_the_same_instance_and_another_is_refused(models: Models, engine: Engine) -> None:
    engine.go.clear()
    both = [asyncio.ensure_future(models.load(order())) for _ in range(2)]
    await eventually(lambda: engine.loads)
    with pytest.raises(NotFoundError):
        models.find("m@1")
    assert models.loaded() == []
    with pytest.raises(AlreadyExistsError, match="instance 'm@1': held already"):
        await models.load(order(threads=2))
    engine.go.set()
    first, second = await asyncio.gather(*both)
    assert first is second is await models.load(order())
    assert len(engine.loads) == 1
    await models.close(30)


async def test_who_no_longer_waits_does_not_stop_the_load(models: Models, engine: Engine) -> None:
    engine.go.clear()
    loading = asyncio.ensure_future(models.load(order()))
    await eventually(lambda: engine.loads)
    loading.cancel()
    await asyncio.wait([loading])
    unloading = asyncio.ensure_future(models.unload("m@1"))
    await asyncio.sleep(0)
    engine.go.set()
    await unloading
    assert engine.copies[0].closed
    assert models.loaded() == []


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [
        (InvalidInputError("bad artifact"), InvalidInputError, "bad artifact"),
        (RuntimeError("engine says no"), ModelExecutionError, "RuntimeError: engine says no"),
    ],
)
async def test_a_load_that_fails_says_why_and_can_be_tried_again(
    models: Models, engine: Engine, failure: Exception, error: type[Exception], message: str
) -> None:
    engine.failure = failure
    with pytest.raises(error) as caught:
        await models.load(order())
    assert str(caught.value) == message
    with pytest.raises(NotFoundError, match="instance 'm@1': not in this runner"):
        models.find("m@1")
    engine.failure = None
    await models.load(order())
    await models.close(30)


async def test_copies_of_a_load_that_fails_are_given_back(models: Models, engine: Engine) -> None:
    def load(*asked: Any) -> Runtime:
        engine.failure = RuntimeError("no more memory") if len(engine.copies) == 2 else None
        return engine.load(*asked)

    models = Models(1, load=load)
    with pytest.raises(ModelExecutionError, match="no more memory"):
        await models.load(order(copies=3))
    assert [copy.closed for copy in engine.copies] == [True, True]


async def test_an_instance_that_cannot_be_measured_is_not_left_behind(engine: Engine) -> None:
    def observe(version: ModelVersion) -> NoReturn:
        raise RuntimeError("no more threads")

    models = Models(1, observe, engine.load)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no more threads"):
            await models.load(order(copies=2))
    assert models.loaded() == []
    assert [copy.closed for copy in engine.copies] == [True] * 4


async def test_every_copy_is_warmed_up(models: Models, engine: Engine) -> None:
    await models.load(order(copies=2, warm_up_batch_sizes=(1, 3)))
    assert [copy.batches for copy in engine.copies] == [[[0], [0, 0, 0]]] * 2
    await models.close(30)


class Fussy(Echo):
    """Executes no batch of more than two."""

    def run(self, inputs: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        if len(inputs["x"]) > 2:
            raise ModelExecutionError("too many")
        return super().run(inputs, outputs)


async def test_a_model_that_fails_at_its_warm_up_is_not_loaded() -> None:
    models = Models(1, load=lambda *_: Fussy())
    with pytest.raises(ModelExecutionError, match="warm-up with a batch of 3: too many"):
        await models.load(order(warm_up_batch_sizes=(1, 3)))
    assert models.loaded() == []


async def test_a_model_without_a_batch_dimension_is_not_loaded_with_a_batch_size(tmp_path: Path) -> None:
    onnx_models.save(onnx_models.identity("FP32", (1, 2)), tmp_path / "model.onnx")
    wanted = LoadOrder(ModelVersion("m", "1"), "w0", "onnx", tmp_path, InstanceOptions(max_batch_size=8))
    models = Models(1)
    with pytest.raises(InvalidInputError, match=r"max_batch_size: expected 0, .* input x: FP32 \[1, 2\]"):
        await models.load(wanted)


async def test_what_is_not_held_cannot_be_unloaded(models: Models) -> None:
    with pytest.raises(NotFoundError, match="instance 'm@1': not in this runner"):
        await models.unload("m@1")


async def test_two_who_unload_are_both_told_when_it_is_done(models: Models, engine: Engine) -> None:
    await models.load(order())
    await asyncio.gather(models.unload("m@1"), models.unload("m@1"))
    assert engine.copies[0].closed
    assert models.loaded() == []
    await models.load(order(threads=2))
    await models.close(30)


async def test_an_end_in_time_and_one_that_is_not(models: Models, engine: Engine) -> None:
    assert await models.close(0)
    loaded = await models.load(order())
    engine.copies[0].go.clear()
    call = asyncio.ensure_future(loaded.infer(request(1), None))
    await eventually(lambda: engine.copies[0].batches)
    assert not await models.close(0.01)
    engine.copies[0].go.set()
    assert await models.close(30)
    assert values(await call) == [1]
