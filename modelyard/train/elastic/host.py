"""What a rank's driver asks of the process that it runs in."""

from __future__ import annotations

from modelyard.train.checkpoint.ranks import Ranks
from modelyard.train.control.messages import Saved
from modelyard.train.loop import Ending


class Host:
    """Knows of no checkpoint, and does nothing with what was trained."""

    def enter(self, rank: int, checkpoint: Saved | None) -> None:
        """From now on this is that rank of its group; the control process knows of that checkpoint as the last."""

    def restore(self, saved: Saved) -> None:
        """Load a checkpoint, or one before it, into the state that is trained; asked where no rank's state is as late.

        Raises:
            GroupLost: it cannot be read now.
            ModelyardError: it cannot be loaded.
        """
        raise NotImplementedError(f"expected to be told of no checkpoint, got {saved.name}")

    def share(self, ranks: Ranks) -> None:
        """From now on the state that is trained is these ranks' together, each of which has a part of it.

        All of them are asked for the same then, in the same order: to `restore`, after a step to save, to `complete`.
        """

    @property
    def saves(self) -> bool:
        """Whether a checkpoint is due for another reason than the number of steps. Asked before every step."""
        return False

    def conclude(self, ending: Ending) -> str:
        """Make something of what was trained; return the version that came of it; empty: none.

        Asked of rank 0 alone, while the others wait; of another rank if that one is lost, which then does it all again.

        Raises:
            Exception: the job has failed.
        """
        del ending
        return ""

    def complete(self) -> None:
        """Have a checkpoint of what is trained, if there is none; nothing more is done to it. Asked where it is shared,
        before it is put together for `conclude`, which is then asked of another host.
        """

    def settle(self) -> None:
        """Wait for what is being written. The control process can still be told of it."""
