from __future__ import annotations

import os

from modelyard.local.plan import environment


def test_workers_share_the_cores_of_the_machine() -> None:
    cores = os.cpu_count() or 1
    assert environment(2, {})["OMP_NUM_THREADS"] == str(max(1, cores // 2))
    assert environment(1000, {})["OMP_NUM_THREADS"] == "1"
    assert environment(2, {"OMP_NUM_THREADS": "3"}) == {"OMP_NUM_THREADS": "3"}
    assert environment(1, {"PATH": "/bin", "MODELYARD_PORT": "1"}) == {"PATH": "/bin"}
