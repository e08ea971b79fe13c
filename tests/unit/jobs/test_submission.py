from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.codec import decode, encode
from modelyard.errors import AlreadyExistsError, InvalidInputError
from modelyard.jobs.job import Job
from modelyard.jobs.spec import Artifact, Dataset
from modelyard.jobs.submission import job_id, repeated, resolved, submit
from modelyard.names import check_name
from tests.unit.jobs.submitted import DIGEST, SPEC


def test_a_request_makes_one_job() -> None:
    one = submit("a", "r", SPEC, 100.0)
    assert one.id == submit("a", "r", SPEC, 200.0).id == job_id("a", "r")
    assert len({one.id, job_id("b", "r"), job_id("a", "s"), job_id("a.r", "r")}) == 4
    assert check_name("job", one.id)
    with pytest.raises(InvalidInputError, match="request name 'a b'"):
        submit("a", "a b", SPEC, 100.0)


def test_a_repeated_request_gets_its_job_if_it_asks_for_the_same() -> None:
    asked = replace(
        SPEC, batch_inference=replace(SPEC.inference, version="prod", dataset=Dataset(inline=b"1", kind="csv"))
    )
    stored = resolved(submit("a", "r", asked, 100.0), "3", Artifact(DIGEST, "rows.csv"))
    assert stored.spec.inference.version == "3"
    assert stored.spec.inference.dataset == Dataset(artifact=Artifact(DIGEST, "rows.csv"), kind="csv")
    kept = decode(Job, encode(stored))
    assert repeated(kept, asked) == stored
    with pytest.raises(AlreadyExistsError, match=f"job {kept.id} was submitted with the same request id"):
        repeated(kept, replace(asked, priority=6))


def test_the_dataset_stays_where_it_was_stored() -> None:
    assert resolved(submit("a", "r", SPEC, 100.0), "7").spec == replace(
        SPEC, batch_inference=replace(SPEC.inference, version="7")
    )
