"""`python -m bench.lane.without_speculation`: a scheduler that never gives a task a second attempt, to compare with."""

from __future__ import annotations

from modelyard_scheduler.__main__ import main
from modelyard_scheduler.jobs.leader import rounds

if __name__ == "__main__":
    vars(rounds)["second_attempts"] = lambda running, seconds_per_row, idle: []
    main()
