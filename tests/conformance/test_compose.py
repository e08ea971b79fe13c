"""compose.yaml: it is valid, it has what it must have, and its services serve a model as they are written there."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml
from compose_spec import PyCompose

from modelyard import Client
from modelyard.config import load as load_config
from modelyard.redis import SETTINGS
from modelyard_registry.config import Config as RegistryConfig
from modelyard_scheduler.config import Config as SchedulerConfig
from modelyard_worker.config import Config as WorkerConfig
from tests.conformance.composition import Composition, load
from tests.models import mlp, save
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "compose.yaml"
SERVICES = load(FILE)
OURS = {name: service for name, service in SERVICES.items() if service.stage}
CONFIGS = {"registry": RegistryConfig, "scheduler": SchedulerConfig, "worker": WorkerConfig}
FRONT_DOORS = (8001, 8011)
TOLERANCE = 1e-6


def config_of(name: str) -> Any:
    """The configuration that a service of ours reads from its command and environment."""
    service = OURS[name]
    return load_config(CONFIGS[name.partition("-")[0]], service.command[3:], service.environment)


def test_the_file_follows_the_compose_specification() -> None:
    merged = json.dumps(yaml.safe_load(FILE.read_text()))  # the package does not read YAML's merge keys
    composed = PyCompose.from_json(merged)
    composed.validate()
    assert set(composed.service_names()) == set(SERVICES)


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="no docker-compose on PATH")
def test_docker_compose_reads_the_file() -> None:
    command = ["docker-compose", "--file", str(FILE), "config", "--services"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(SERVICES)


def test_the_services_are_there() -> None:
    assert set(SERVICES) == {"etcd", "redis", "registry", "scheduler-0", "scheduler-1", "worker-0", "worker-1"}
    assert set(OURS) == {"registry", "scheduler-0", "scheduler-1", "worker-0", "worker-1"}


@pytest.mark.parametrize("name", OURS)
def test_our_images_are_built_from_this_repository(name: str) -> None:
    build = SERVICES[name].spec["build"]
    assert build["context"] == "."
    assert build["dockerfile"] == f"services/{name.partition('-')[0]}/Dockerfile"
    assert set(build["args"]) == {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"}


@pytest.mark.parametrize("name", ["etcd", "redis"])
def test_foreign_images_have_a_version(name: str) -> None:
    assert any(digit.isdecimal() for digit in SERVICES[name].spec["image"].rpartition(":")[2])


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_restarts_and_has_a_health_check(name: str) -> None:
    spec = SERVICES[name].spec
    assert spec["restart"] == "unless-stopped"
    assert {"test", "interval", "timeout", "retries"} <= spec["healthcheck"].keys()


@pytest.mark.parametrize("name", OURS)
def test_our_services_wait_for_what_they_need_and_have_time_to_drain(name: str) -> None:
    spec = SERVICES[name].spec
    needed = {"registry": {"etcd"}, "worker": {"etcd", "registry"}, "scheduler": {"etcd", "redis", "registry"}}
    assert spec["depends_on"].keys() == needed[name.partition("-")[0]]
    assert all(how == {"condition": "service_healthy"} for how in spec["depends_on"].values())
    assert spec["stop_grace_period"] == ("60s" if name.startswith("worker") else "30s")


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_reached_by_their_names(name: str) -> None:
    config = config_of(name)
    assert (config.host, config.advertise, config.etcd) == ("0.0.0.0", name, "etcd:2379")
    assert config.id == ("registry-0" if name == "registry" else name)


def test_state_lies_in_named_volumes() -> None:
    volumes = yaml.safe_load(FILE.read_text())["volumes"]
    used = [name for service in SERVICES.values() for name in service.volumes.values()]
    assert sorted(used) == sorted(volumes), "each volume belongs to one service"
    places = {
        "registry": config_of("registry").store,
        "worker-0": config_of("worker-0").data_dir,
        "worker-1": config_of("worker-1").data_dir,
        "etcd": next(word for word in SERVICES["etcd"].command if word.startswith("--data-dir=")).partition("=")[2],
        "redis": SERVICES["redis"].command[SERVICES["redis"].command.index("--dir") + 1],
    }
    for name, place in places.items():
        assert any(Path(place).is_relative_to(path) for path in SERVICES[name].volumes), (name, place)


def test_redis_has_the_settings_of_the_queue() -> None:
    command = SERVICES["redis"].command
    assert {name: command[command.index(f"--{name}") + 1] for name in SETTINGS} == SETTINGS


def test_etcd_is_one_member_that_compacts() -> None:
    flags = dict(word.split("=", 1) for word in SERVICES["etcd"].command[1:])
    assert flags["--advertise-client-urls"] == "http://etcd:2379"
    assert flags["--auto-compaction-mode"] == "periodic"
    assert flags["--initial-cluster"] == f"etcd={flags['--initial-advertise-peer-urls']}"


def test_only_the_front_doors_are_published() -> None:
    published = {name: service.published for name, service in SERVICES.items() if service.published}
    assert published == {"scheduler-0": {8001: 8001}, "scheduler-1": {8011: 8001}}
    assert config_of("registry").port == 8003
    assert SERVICES["registry"].spec["expose"] == ["8003", "8007"]


@pytest.mark.parametrize("name", OURS)
def test_metrics_are_reached_from_inside(name: str) -> None:
    port = {"registry": 8007, "scheduler": 8002, "worker": 8006}[name.partition("-")[0]]
    assert config_of(name).metrics_port == port
    assert str(port) in SERVICES[name].spec["expose"]


@pytest.fixture(scope="module")
def composition(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    """All services, running and healthy."""
    composed = Composition(FILE, tmp_path_factory.mktemp("compose"))
    try:
        composed.up()
        yield composed
    finally:
        composed.down()


@pytest.mark.timeout(300)
class TestRunning:
    """The services as local processes; in order, each on what the one before it left."""

    rows = np.random.default_rng(2).random((20, 64), np.float32)

    def expected(self) -> Any:
        """What a local run of the model answers."""
        return onnxruntime.InferenceSession(mlp().SerializeToString()).run(None, {"x": self.rows})[0]

    @pytest.mark.parametrize("name", SERVICES)
    def test_the_health_check_succeeds(self, composition: Composition, name: str) -> None:
        done = composition.containers[name].check_health()
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize("name", OURS)
    def test_the_metrics_can_be_scraped(self, composition: Composition, name: str) -> None:
        port = config_of(name).metrics_port
        with urllib.request.urlopen(f"http://{composition.containers[name].address}:{port}/metrics") as page:
            assert b"modelyard_etcd_reachable 1.0" in page.read()

    def test_the_workers_join_under_their_names(self, composition: Composition) -> None:
        with Client(composition.published(8001)) as client:
            joined = wait_until(lambda: len(found := client.workers()) == 2 and found)
        assert {worker.id: worker.address for worker in joined or []} == {
            name: f"{composition.containers[name].address}:8005" for name in ("worker-0", "worker-1")
        }

    def test_a_model_is_pushed_and_served_through_both_front_doors(
        self, composition: Composition, tmp_path: Path
    ) -> None:
        with Client(composition.published(8001)) as client:
            client.push("digits", save(mlp(), tmp_path / "model.onnx"))
            client.deploy("digits", replicas=2)
        for port in FRONT_DOORS:
            with Client(composition.published(port)) as client:
                answer = client.infer("digits", {"x": self.rows})["y"]
                np.testing.assert_allclose(answer, self.expected(), rtol=0, atol=TOLERANCE)

    @pytest.mark.parametrize("port", FRONT_DOORS)
    def test_both_workers_answer(self, composition: Composition, port: int) -> None:
        with Client(composition.published(port)) as client:
            for worker in ("worker-0", "worker-1"):
                wait_until(lambda: client.infer_result("digits", {"x": self.rows}).worker == worker)  # noqa: B023

    def test_services_end_in_order_and_come_back_with_their_volumes(self, composition: Composition) -> None:
        statuses = composition.down()
        assert {name: statuses[name] for name in OURS} == dict.fromkeys(OURS, 0)
        assert all(any(volume.iterdir()) for volume in composition.volumes.iterdir())
        composition.up()
        for port in FRONT_DOORS:
            with Client(composition.published(port)) as client:
                answer = client.infer("digits", {"x": self.rows})["y"]
                np.testing.assert_allclose(answer, self.expected(), rtol=0, atol=TOLERANCE)
