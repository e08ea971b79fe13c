"""What processes of training get in their environment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.jobs.gang import Charter
from modelyard.jobs.training import Code, TrainingData, TrainingSpec
from modelyard_worker.training import launch
from modelyard_worker.training.orders import Begin

SPEC = TrainingSpec("m", Code(Artifact("c" * 64), "recipe"), TrainingData(Dataset(Artifact("d" * 64))))
SHARED = {"PATH": "/bin", "MODELYARD_ETCD": "e", "AWS_SECRET_ACCESS_KEY": "s", "GOOGLE_APPLICATION_CREDENTIALS": "g"}


def begin(dataset: Dataset) -> Begin:
    spec = replace(SPEC, data=TrainingData(dataset))
    return Begin(Charter("job-1", "default", spec, "secret"), "w0/1", "127.0.0.1", "/code", "/scratch")


@pytest.mark.parametrize(
    ("dataset", "stores"),
    [
        (Dataset(Artifact("d" * 64)), False),
        (Dataset(url="https://example.org/a.csv"), False),
        (Dataset(url="file:///data/a.csv"), False),
        (Dataset(url="s3://bucket/a.csv"), True),
    ],
)
def test_ranks_get_no_settings_of_ours_and_credentials_only_to_read_with(dataset: Dataset, stores: bool) -> None:
    found = launch.rank(begin(dataset), ["python"]).environment(SHARED)
    kept = {"AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS"} if stores else set()
    assert set(found) == {"PATH", *kept}


def test_the_control_process_gets_the_secret_where_others_do_not_see_it() -> None:
    made = launch.control(begin(Dataset(Artifact("d" * 64))), ["python"], "127.0.0.1:2379", 3)
    assert made.environment({"PATH": "/bin"}) == {"PATH": "/bin", launch.SECRET: "secret"}
    assert not any("secret" in argument for argument in made.command)
    assert "--lease-s=3" in made.command
