"""The driver of a rank whose model is shared with others. What torch has for that takes seconds to load."""

from __future__ import annotations

from collections.abc import Callable

from modelyard.train.elastic.host import Host
from modelyard.train.elastic.member import Member
from modelyard.train.events import Listener
from modelyard.train.options import TrainingOptions
from modelyard.train.parallel.driver import Plan, ReplicaDriver
from modelyard.train.recipe import Recipe
from modelyard.train.step import Training
from modelyard_worker.trainer.data import Opened
from modelyard_worker.trainer.interface import interface_of
from modelyard_worker.training.orders import Begin


def driver(
    begin: Begin,
    member: Member,
    trains: tuple[Recipe, Opened, TrainingOptions],
    host: Callable[[Training], Host],
    listener: Listener,
) -> ReplicaDriver:
    """Return what drives a rank; see ReplicaDriver."""
    recipe, data, options = trains
    shared = (begin.charter.spec.parallelism, begin.device, interface_of(begin.host))
    return ReplicaDriver(member, Plan(recipe, data.train, data.validation, options, *shared), host, listener)
