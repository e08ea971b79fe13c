"""What jobs wish for, and the internal deployments that become of it."""

from __future__ import annotations

from typing import Any

from modelyard.catalogue import Resources, Signature, Version
from modelyard.deployment import Deployment, InstanceOptions, Selector
from modelyard.reservation import RUNNER_BYTES
from modelyard_scheduler.jobs.demand import merged, wish
from tests.unit.scheduler.simulation import deployment, key

PUBLISHED = Version("m", "2", "onnx", Signature(), Resources(cpu=2), "d" * 64, 1000, create_time_s=7.0)


def test_a_wish_says_of_the_version_what_a_deployment_says() -> None:
    needs = Resources(cpu=2, memory_bytes=RUNNER_BYTES + 2000)
    assert wish(PUBLISHED, "acme", 3, 9.0) == Deployment(
        "m", "2", 3, needs, "d" * 64, "onnx", tenant="acme", create_time_s=9.0, version_time_s=7.0
    )


def test_the_wishes_for_a_version_are_one_deployment() -> None:
    wishes = [deployment("m", 2), deployment("n", 1), deployment("m", 3), deployment("m", 4, version="2")]
    found = merged({}, wishes)
    assert {str(v): d.replicas for v, d in found.items()} == {"m@1": 5, "n@1": 1, "m@2": 4}
    assert merged({}, []) == {}


def test_it_is_of_the_oldest_wish_in_whatever_order_they_are_read() -> None:
    wishes = [deployment("m", tenant="b", create_time_s=2.0), deployment("m", tenant="a", create_time_s=1.0)]
    assert merged({}, wishes) == merged({}, wishes[::-1]) == {key("m"): deployment("m", 2, tenant="a", create_time_s=1)}


def test_a_user_who_has_deployed_the_version_says_how_it_is_run_and_where() -> None:
    how: dict[str, Any] = {"options": InstanceOptions(threads=3), "on": Selector(("a",))}
    user = deployment("m", 7, on_demand=True, idle_s=5.0, replaces=("0",), **how)
    assert merged({key("m"): user, key("n"): deployment("n")}, [deployment("m", 2)]) == {
        key("m"): deployment("m", 2, **how)
    }
