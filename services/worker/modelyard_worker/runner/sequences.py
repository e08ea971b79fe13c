"""Which sequences an instance has under way, and on which of its copies. Policy only: no I/O, no clock of its own."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from modelyard.errors import ExhaustedError, SequenceError
from modelyard.oip.parameters import Sequence

MOST = 4096
IDLE_S = 60.0
RETRY_AFTER_S = 1.0


@dataclass
class _Open:
    copy: int
    used_s: float


class Sequences:
    """The sequences of one instance. Each has a copy: its calls go there, in the order in which they came.

    One that is not called for IDLE_S has ended; there are at most MOST at a time.
    """

    def __init__(self, copies: int) -> None:
        self._copies = copies
        self._next = 0
        self._open: OrderedDict[int | str, _Open] = OrderedDict()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def copy_for(self, sequence: Sequence, now_s: float) -> int:
        """Return the index of the copy that a call goes to. One that starts a sequence anew ends what was before it.

        Raises:
            SequenceError: it continues a sequence that was not started, or has ended.
            ExhaustedError: it starts one while there are as many as may be.
        """
        self._end_idle(now_s)
        found = self._open.get(sequence.id)
        if found is None:
            found = self._start(sequence, now_s)
        found.used_s = now_s
        if sequence.end:
            self._open.pop(sequence.id, None)
        else:
            self._open[sequence.id] = found
            self._open.move_to_end(sequence.id)
        return found.copy

    def _start(self, sequence: Sequence, now_s: float) -> _Open:
        if not sequence.start:
            raise SequenceError(
                f"sequence {sequence.id!r}: expected sequence_start in its first call; it was not started on this "
                f"instance, or has ended, or was not called for {IDLE_S:g} s"
            )
        if len(self._open) >= MOST:
            raise ExhaustedError(f"{MOST} sequences are open, no more may be", retry_after_s=RETRY_AFTER_S)
        self._next += 1
        return _Open(self._next % self._copies, now_s)

    def _end_idle(self, now_s: float) -> None:
        while self._open and next(iter(self._open.values())).used_s + IDLE_S <= now_s:
            self._open.popitem(last=False)
