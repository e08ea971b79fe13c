"""Whether the event loop of a runner turns."""

from __future__ import annotations

import pytest

from modelyard_worker.runner import pulse as pulse_module
from modelyard_worker.runner.pulse import STUCK_S, Pulse
from tests.waiting import eventually


async def test_a_loop_that_has_not_turned_for_long_is_stuck_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse_module, "LOOK_S", 0.01)
    pulse = Pulse()
    assert pulse.beats()
    for _ in range(2):
        pulse._turned_s -= STUCK_S
        assert not pulse.beats()
        await eventually(pulse.beats)
