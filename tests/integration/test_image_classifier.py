"""`make example-image_classifier`, as a user runs it."""

from __future__ import annotations

import subprocess
import sys


def test_registered_discovered_loaded_where_it_fits_called_and_unloaded() -> None:
    command = [sys.executable, "-m", "examples.image_classifier.demo"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        "registered image_classifier@1.0: cpu 4, memory 16 GiB",
        "discovered image_classifier@1.0 by labels.task = image-classification",
        "loaded on worker-0; worker-small is too small",
        "an image of standing stripes: standing stripes",
        "unloaded: model 'image_classifier@1.0': registered but not deployed",
    ):
        assert said in done.stdout
