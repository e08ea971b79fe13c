from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.train.control.admission import Admission
from modelyard.train.control.messages import Hello

HELLO = Hello("job", "r0", "secret", "10.0.0.1", "recipe=a,seed=1")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"job": "other"}, "expected a member of job 'job', got one of 'other'"),
        ({"secret": "Secret"}, "the secret is not the job's"),
        ({"secret": ""}, "the secret is not the job's"),
        ({"member": ""}, "a name and an address"),
        ({"address": ""}, "a name and an address"),
        ({"agreement": "recipe=a,seed=2"}, "agree on: seed: expected '1', got '2'"),
        ({"agreement": "recipe=a"}, "agree on: seed: expected '1', got None"),
        ({"agreement": "b"}, "digest: expected None, got 'b'"),
    ],
)
def test_who_is_turned_away_is_told_why(change: dict[str, str], words: str) -> None:
    admission = Admission("job", "secret", HELLO.agreement)
    assert admission.refusal(HELLO) == ""
    refusal = admission.refusal(replace(HELLO, **change))  # type: ignore[arg-type]
    assert words in refusal
    assert "secret'" not in refusal


def test_without_an_agreement_the_first_that_is_let_in_says_it() -> None:
    admission = Admission("job", "secret")
    assert admission.refusal(replace(HELLO, secret="?", agreement="x"))
    assert admission.refusal(HELLO) == ""
    assert admission.refusal(replace(HELLO, agreement="x"))
