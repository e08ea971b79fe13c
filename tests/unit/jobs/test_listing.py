from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.errors import InvalidInputError
from modelyard.jobs.listing import JobFilter, place_of
from modelyard.jobs.states import JobState
from tests.unit.jobs.submitted import job


def test_jobs_by_state_model_and_tenant() -> None:
    running, other = job(JobState.RUNNING), replace(job(JobState.FAILED), id="job-2", tenant="b")
    jobs = [running, other]

    def found(wanted: JobFilter) -> list[str]:
        return [one.id for one in jobs if wanted.matches(one)]

    assert found(JobFilter()) == ["job-1", "job-2"]
    assert found(JobFilter(frozenset({JobState.RUNNING}))) == ["job-1"]
    assert found(JobFilter(frozenset({JobState.RUNNING, JobState.FAILED}))) == ["job-1", "job-2"]
    assert found(JobFilter(model="digits")) == ["job-1", "job-2"]
    assert found(JobFilter(model="dig")) == []
    assert found(JobFilter(tenant="b")) == ["job-2"]
    assert found(JobFilter(frozenset({JobState.RUNNING}), tenant="b")) == []


def test_a_token_is_a_place() -> None:
    assert (place_of(""), place_of("17")) == (0, 17)


@pytest.mark.parametrize("token", ["x", "-1", "0", "1.5", "٣", "9" * 17, " 1"])
def test_a_token_that_is_none_of_ours_is_refused(token: str) -> None:
    with pytest.raises(InvalidInputError, match="page_token: expected one that a page came with"):
        place_of(token)
