"""Orders: what a Deploy asks for, and whether it makes sense. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from modelyard.deployment import InstanceOptions, Selector
from modelyard.errors import InvalidInputError
from modelyard.names import check_name

MAX_REPLICAS = 1000
MAX_ROWS = 1 << 16
"""Of a batch."""
MAX_IDLE_S = 10 * 365 * 86400.0
DEVICES = ("", "cpu", "cuda")
PRECISIONS = ("", "fp32", "fp16", "bf16", "tf32")
MAX_SIZES = 64
"""Entries of a list of batch sizes."""


@dataclass(frozen=True)
class Order:
    """What a Deploy asks for.

    Attributes:
        reference: a version or an alias; empty: the newest.
        replicas: 0 means 1.
        replace: the model's other deployments end when all replicas of this one are READY.
    """

    model: str
    reference: str = ""
    replicas: int = 1
    options: InstanceOptions = field(default_factory=InstanceOptions)
    on: Selector = field(default_factory=Selector)
    on_demand: bool = False
    idle_s: float = 0.0
    replace: bool = False


def check_order(order: Order) -> Order:
    """Return the order; raise InvalidInputError that names the field, what was expected and what came."""
    check_name("model", order.model)
    if order.replicas:
        _within("replicas", order.replicas, 1, MAX_REPLICAS)
    check_options(order.options)
    for worker in order.on.workers:
        check_name("on.workers: worker", worker)
    if any(not key for key, _ in order.on.labels):
        raise InvalidInputError("on.labels: expected label=value, got an empty label")
    if not (math.isfinite(order.idle_s) and 0 <= order.idle_s <= MAX_IDLE_S):
        raise InvalidInputError(f"idle_s: expected 0 to {MAX_IDLE_S:.0f} seconds, got {order.idle_s:g}")
    if order.idle_s and not order.on_demand:
        raise InvalidInputError(f"idle_s: expected 0 for a deployment that is not on_demand, got {order.idle_s:g}")
    return order


def check_options(options: InstanceOptions) -> None:
    """Raise InvalidInputError that names the option, what was expected and what came."""
    _within("options.threads", options.threads, 0, 1024)
    _among("options.device", options.device, DEVICES)
    _among("options.precision", options.precision, PRECISIONS)
    _within("options.copies", options.copies, 1, 64)
    if options.runner:
        check_name("options.runner: runner", options.runner)
    _within("options.max_batch_size", options.max_batch_size, 0, MAX_ROWS)
    _within("options.max_queue_delay_us", options.max_queue_delay_us, 0, 60_000_000)
    _within("options.max_queue_size", options.max_queue_size, 1, 1_000_000)
    if options.preferred_batch_sizes and not options.max_batch_size:
        sizes = list(options.preferred_batch_sizes)
        raise InvalidInputError(f"options.preferred_batch_sizes: expected none without a max_batch_size, got {sizes}")
    _sizes("options.preferred_batch_sizes", options.preferred_batch_sizes, options.max_batch_size)
    _sizes("options.warm_up_batch_sizes", options.warm_up_batch_sizes, options.max_batch_size)


def _sizes(field: str, sizes: tuple[int, ...], max_batch_size: int) -> None:
    if len(sizes) > MAX_SIZES:
        raise InvalidInputError(f"{field}: expected at most {MAX_SIZES}, got {len(sizes)}")
    for size in sizes:
        _within(field, size, 1, max_batch_size or MAX_ROWS)


def _within(field: str, value: int, least: int, greatest: int) -> None:
    if not least <= value <= greatest:
        raise InvalidInputError(f"{field}: expected {least} to {greatest}, got {value}")


def _among(field: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        listed = ", ".join(repr(name) for name in known)
        raise InvalidInputError(f"{field}: expected one of {listed}, got {value!r}")
