"""The one package that speaks to etcd: keys, transactions, leases and watches over a channel of our own.

It uses the generated messages and stubs of aetcd, not its client, which opens an insecure channel to one address and
whose watch ends with an error when etcd restarts.
"""

from modelyard.etcd.channel import HistoryLostError, RefusedError
from modelyard.etcd.leases import Leases
from modelyard.etcd.messages import Batch, Change, Compare, Delete, KeyValue, Listing, Put
from modelyard.etcd.mirror import Mirror
from modelyard.etcd.watch import Watches

__all__ = [
    "Batch",
    "Change",
    "Compare",
    "Delete",
    "Etcd",
    "HistoryLostError",
    "KeyValue",
    "Listing",
    "Mirror",
    "Put",
    "RefusedError",
]


class Etcd(Watches, Leases):
    """etcd's v3 API as far as Modelyard uses it.

    Every call raises UnavailableError when etcd does not answer, ExhaustedError when it has no space left,
    InvalidInputError when a value is too large for it (1.5 MiB), and RefusedError when it will never take such a call.
    The revision that an answer is of is noted (modelyard.revisions).
    """
