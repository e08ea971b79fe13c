from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import InvalidInputError
from modelyard.jobs.listing import JobFilter, page
from modelyard.jobs.states import JobState
from tests.unit.jobs.submitted import job

TIMES = st.lists(st.sampled_from([1.763e9, 1.763e9 + 1 / 3, 1.763e9 + 0.1, 1.764e9]), max_size=30)


@given(TIMES, st.integers(1, 7))
def test_pages_have_every_job_once_newest_first(times: list[float], size: int) -> None:
    jobs = [replace(job(), id=f"job-{number}", create_time_s=time_s) for number, time_s in enumerate(times)]
    found, token = page(jobs, JobFilter(), size)
    for _ in jobs:
        if token:
            assert len(found) % size == 0
            more, token = page(jobs, JobFilter(), size, token)
            found += more
    assert not token
    assert sorted(found, key=lambda one: one.id) == sorted(jobs, key=lambda one: one.id)
    assert [one.create_time_s for one in found] == sorted(times, reverse=True)


def test_jobs_by_state_model_and_tenant() -> None:
    running, other = job(JobState.RUNNING), replace(job(JobState.FAILED), id="job-2", tenant="b")
    jobs = [running, other]
    assert page(jobs, JobFilter(frozenset({JobState.RUNNING})), 9) == ([running], "")
    assert page(jobs, JobFilter(frozenset({JobState.RUNNING, JobState.FAILED})), 9)[0] == jobs
    assert page(jobs, JobFilter(model="digits"), 9)[0] == jobs
    assert page(jobs, JobFilter(model="dig"), 9)[0] == []
    assert page(jobs, JobFilter(tenant="b"), 9)[0] == [other]
    assert page(jobs, JobFilter(frozenset({JobState.RUNNING}), tenant="b"), 9)[0] == []


@pytest.mark.parametrize("token", ["x", "1.5", "1.5/", "1e9/job", "-1/job", "1/a b"])
def test_tokens_of_others_are_refused(token: str) -> None:
    with pytest.raises(InvalidInputError, match="page_token: expected one that a page came with"):
        page([job()], JobFilter(), 1, token)
