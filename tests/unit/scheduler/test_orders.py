from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelyard.deployment import InstanceOptions, Selector
from modelyard.errors import InvalidInputError
from modelyard_scheduler.orders import Order, check_order

SENSIBLE = Order(
    "m",
    "prod",
    3,
    InstanceOptions(2, "cuda", "fp16", 2, "shared", (1, 8), 8, 500, (4, 8), 10),
    Selector(("worker-0",), (("topology/zone", "a"),)),
    on_demand=True,
    idle_s=0.5,
    replace=True,
)


def test_an_order_that_makes_sense_is_returned() -> None:
    assert check_order(SENSIBLE) is SENSIBLE
    assert check_order(Order("m")) == Order("m")
    assert check_order(Order("m", replicas=0)).replicas == 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("threads", -1, "options.threads: expected 0 to 1024, got -1"),
        ("device", "gpu", "options.device: expected one of '', 'cpu', 'cuda', got 'gpu'"),
        ("precision", "int8", "options.precision: expected one of '', 'fp32', 'fp16', 'bf16', 'tf32', got 'int8'"),
        ("copies", -2, "options.copies: expected 1 to 64, got -2"),
        ("runner", "a/b", "options.runner: runner name 'a/b': expected letters"),
        ("max_batch_size", -1, "options.max_batch_size: expected 0 to 65536, got -1"),
        ("max_queue_delay_us", 60_000_001, "options.max_queue_delay_us: expected 0 to 60000000, got 60000001"),
        ("max_queue_size", -5, "options.max_queue_size: expected 1 to 1000000, got -5"),
        ("preferred_batch_sizes", (4, 9), "options.preferred_batch_sizes: expected 1 to 8, got 9"),
        ("preferred_batch_sizes", (0,), "options.preferred_batch_sizes: expected 1 to 8, got 0"),
        ("warm_up_batch_sizes", (16,), "options.warm_up_batch_sizes: expected 1 to 8, got 16"),
        ("warm_up_batch_sizes", (1,) * 65, "options.warm_up_batch_sizes: expected at most 64, got 65"),
    ],
)
def test_options_that_make_no_sense_are_named(field: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_order(replace(SENSIBLE, options=replace(SENSIBLE.options, **{field: value})))
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"model": "a/b"}, "model name 'a/b'"),
        ({"replicas": -1}, "replicas: expected 1 to 1000, got -1"),
        ({"replicas": 1001}, "replicas: expected 1 to 1000, got 1001"),
        ({"idle_s": -1.0}, "idle_s: expected 0 to 315360000 seconds, got -1"),
        ({"idle_s": float("nan")}, "idle_s: expected 0 to 315360000 seconds, got nan"),
        ({"idle_s": float("inf")}, "idle_s: expected 0 to 315360000 seconds, got inf"),
        ({"on_demand": False}, "idle_s: expected 0 for a deployment that is not on_demand, got 0.5"),
        ({"on": Selector(("",))}, "on.workers: worker name: expected 1 to 120 characters, got an empty string"),
        ({"on": Selector((), (("", "a"),))}, "on.labels: expected label=value, got an empty label"),
    ],
)
def test_orders_that_make_no_sense_are_named(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_order(replace(SENSIBLE, **facts))
    assert caught.value.message.startswith(message)


def test_sizes_without_batches() -> None:
    single = InstanceOptions(warm_up_batch_sizes=(32,))
    assert check_order(Order("m", options=single)).options == single
    with pytest.raises(InvalidInputError, match="preferred_batch_sizes: expected none without a max_batch_size, got"):
        check_order(Order("m", options=InstanceOptions(preferred_batch_sizes=(4,))))
