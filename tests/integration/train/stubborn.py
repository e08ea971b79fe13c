"""A recipe for tests whose third step never ends as it should. It is copied to be run."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import time
from typing import Any

from torch import nn

from tests.integration.train.gated import Gated

AT = 3


class Stubborn(Gated):
    """`does`: what is done in the third step."""

    does: str = "exit"
    _steps: int = 0

    def model(self) -> nn.Module:
        """As Gated says, unless it is to hang before the first step."""
        if self.does == "nothing":
            self._hang()
        return super().model()

    def forward(self, model: nn.Module, inputs: Any) -> Any:
        self._steps += 1
        if self._steps == AT:
            getattr(self, f"_{self.does}")()
        return super().forward(model, inputs)

    def _exit(self) -> None:
        sys.exit("enough")

    def _kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _crash(self) -> None:
        ctypes.string_at(0)

    def _hang(self) -> None:
        while True:
            time.sleep(0.1)

    def _hold(self) -> None:
        re.match(r"(a+)+$", "a" * 64 + "b")  # for ages, and no other thread runs meanwhile
