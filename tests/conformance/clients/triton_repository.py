"""An unmodified tritonclient and the model repository: `python triton_repository.py ADDRESS DIGITS IDLE`.

Loads and unloads IDLE, which is not deployed before, and prints what the server said as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

TIMEOUT_S = 60


def refused(call: Callable[[], Any]) -> dict[str, str]:
    """The status and message of a call that must fail."""
    try:
        answer = call()
    except InferenceServerException as error:
        return {"status": str(error.status()).removeprefix("StatusCode."), "message": error.message()}
    return {"status": "no error", "message": str(answer)}


def index(client: Any, *names: str) -> dict[str, Any]:
    """The entries of models, by name."""
    models = client.get_model_repository_index(as_json=True).get("models", [])
    return {m["name"]: m for m in models if m["name"] in names}


def main(address: str, digits: str, idle: str) -> None:
    """Do all of it, and report."""
    row = triton.InferInput("x", [1, 64], "FP32")
    row.set_data_from_numpy(np.zeros((1, 64), np.float32))
    with triton.InferenceServerClient(address) as client:
        before = index(client, digits, idle)
        client.load_model(idle, client_timeout=TIMEOUT_S)
        loaded = {"ready": client.is_model_ready(idle), "index": index(client, idle)}
        loaded["y"] = client.infer(idle, [row]).as_numpy("y").shape
        client.load_model(idle, client_timeout=TIMEOUT_S)
        client.unload_model(idle, client_timeout=TIMEOUT_S)
        unloaded = {"ready": client.is_model_ready(idle), "index": index(client, idle)}
        report = {
            "before": before,
            "loaded": loaded,
            "unloaded": unloaded,
            "refused": {
                "load": refused(lambda: client.load_model("no-such-model")),
                "unload": refused(lambda: client.unload_model("no-such-model")),
                "again": refused(lambda: client.unload_model(idle)),
                "config": refused(lambda: client.load_model(digits, config="{}")),
                "infer": refused(lambda: client.infer(idle, [row])),
            },
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
