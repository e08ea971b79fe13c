"""Why a script has failed, as it is told: by the file that torch's `record` writes, or by what it printed last."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.process import describe_exit

MOST_REASON = 300
MOST_TRACEBACK = 16 << 10
_LAST_LINES = 20
_TRACEBACK = "Traceback (most recent call last):"
_PREFIX = re.compile(r"^\[rank\d+\]:? ?", re.MULTILINE)
"""Before what torch prints of a rank that raised."""
_OF_PEERS = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")
"""What gloo and NCCL say when it is another rank that has failed."""


@dataclass(frozen=True)
class ScriptFailure:
    """How a script has ended that should not have.

    Attributes:
        reason: one line.
        traceback: of the script, or the last lines that it printed; empty: it printed none.
        time_s: when, in seconds since the epoch.
    """

    reason: str
    traceback: str
    time_s: float

    @property
    def follows(self) -> bool:
        """Whether it seems to be another rank's failure that made this one fail."""
        return any(said in self.traceback for said in _OF_PEERS)


def failure(name: str, status: int, errors: Path, tail: str, time_s: float, code: Path) -> ScriptFailure:
    """Return why a script has failed.

    Args:
        name: what it is called: script and rank.
        status: its exit status, or minus a signal.
        errors: the file that it may have written, TORCHELASTIC_ERROR_FILE.
        tail: the end of what it printed as errors.
        time_s: when it ended.
        code: its directory, which paths in the traceback are relative to.
    """
    traceback = (_recorded(errors) or _printed(tail)).replace(f'File "{code}/', 'File "')
    last = traceback.strip().splitlines()[-1:] if _TRACEBACK in traceback else []
    reason = ": ".join([f"{name}: {describe_exit(status)}", *(line.strip() for line in last)])
    return ScriptFailure(reason[:MOST_REASON], traceback[-MOST_TRACEBACK:], time_s)


def _recorded(errors: Path) -> str:
    """What torch.distributed.elastic.multiprocessing.errors has written; empty: nothing that is understood."""
    try:
        message: Any = json.loads(errors.read_bytes())["message"]
        return message if isinstance(message, str) else str(message["extraInfo"]["py_callstack"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""


def _printed(tail: str) -> str:
    """The last traceback, up to the end, or if there is none the last lines."""
    text = _PREFIX.sub("", tail)
    begin = text.rfind(_TRACEBACK)
    return text[begin:] if begin >= 0 else "\n".join(text.splitlines()[-_LAST_LINES:])
