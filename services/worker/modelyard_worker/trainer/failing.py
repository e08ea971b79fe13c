"""A rank that does not train, but says why the job cannot go on."""

from __future__ import annotations

from collections.abc import Callable

from modelyard.train.control.messages import Envelope, Failed, Hello
from modelyard.train.elastic.failures import bounded
from modelyard.train.elastic.member import Member
from modelyard_worker.training.orders import Begin


def tell(begin: Begin, failed: Failed, control: Callable[[], str]) -> None:
    """Tell the control process, once there is one; return when that is written down."""
    charter = begin.charter
    member = Member(Hello(charter.job, begin.member, charter.secret, begin.host, agreement=""), control)
    member.start(lambda: -1)
    try:
        member.part(Envelope(failed=bounded(failed)))
    finally:
        member.close()
