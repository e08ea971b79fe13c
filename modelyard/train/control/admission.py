"""Who may be a member of a job."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from modelyard.train.control.messages import Hello


@dataclass
class Admission:
    """What a member must say.

    Attributes:
        job: its id.
        secret: of the job.
        agreement: of all members; empty: that of the first one.
    """

    job: str
    secret: str
    agreement: str = ""

    def refusal(self, hello: Hello) -> str:
        """Why a member is turned away; empty: it is not."""
        if hello.job != self.job:
            return f"expected a member of job {self.job!r}, got one of {hello.job!r}"
        if not hmac.compare_digest(hello.secret.encode(), self.secret.encode()):
            return "the secret is not the job's"
        if not hello.member or not hello.address:
            return "expected a member with a name and an address"
        if self.agreement and hello.agreement not in {"", self.agreement}:
            return f"not what the job's members agree on: {difference(self.agreement, hello.agreement)}"
        self.agreement = self.agreement or hello.agreement
        return ""


def difference(expected: str, found: str) -> str:
    """Say in what two agreements differ, by the names in them if they have names."""
    wanted, given = _parts(expected), _parts(found)
    names = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
    told = [f"{name or 'digest'}: expected {wanted.get(name)!r}, got {given.get(name)!r}" for name in names]
    return "; ".join(told)


def _parts(agreement: str) -> dict[str, str]:
    """By name; a digest without one has an empty name."""
    pairs = (part.rpartition("=") for part in agreement.split(","))
    return {name: digest for name, _, digest in pairs}
