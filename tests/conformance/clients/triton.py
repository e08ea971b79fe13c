"""An unmodified tritonclient against a server: `python triton.py ADDRESS DIRECTORY DIGITS STRINGS IDLE`.

Classifies the rows of DIRECTORY/x.npy in every way that the client has, writes the answers to DIRECTORY/y.npz, and
prints what the server said as JSON.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

TIMEOUT_S = 30
CALLS = 32


def tensor(name: str, datatype: str, array: Any, shape: Sequence[int] | None = None) -> Any:
    """An input as the client wants it; `shape` claims another one than the array has."""
    built = triton.InferInput(name, array.shape, datatype)
    built.set_data_from_numpy(array)
    return built if shape is None else built.set_shape(shape)


def failure(call: Callable[[], Any]) -> dict[str, str]:
    """The status and message of a call that must fail."""
    try:
        answer = call()
    except InferenceServerException as error:
        return {"status": error.status(), "message": error.message()}
    return {"status": "no error", "message": str(answer)}


def health(client: Any, digits: str, idle: str) -> dict[str, Any]:
    """Liveness, readiness and metadata."""
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(digits),
        "idle_model_ready": client.is_model_ready(idle),
        "server": client.get_server_metadata(as_json=True),
        "model": client.get_model_metadata(digits, as_json=True),
    }


def many(client: Any, digits: str, rows: Any) -> Any:
    """The rows, each as an asynchronous call of its own, all in flight at once."""
    answers: queue.Queue[tuple[int, Any, Any]] = queue.Queue()
    for index, row in enumerate(rows):
        client.async_infer(
            digits,
            [tensor("x", "FP32", row[None])],
            callback=lambda result, error, index=index: answers.put((index, result, error)),
            client_timeout=TIMEOUT_S,
        )
    found: dict[int, Any] = {}
    for _ in rows:
        index, result, error = answers.get(timeout=TIMEOUT_S)
        if error is not None:
            raise error
        found[index] = result.as_numpy("y")[0]
    return np.stack([found[index] for index in range(len(rows))])


async def from_asyncio(address: str, digits: str, rows: Any) -> Any:
    """The rows through the client's asyncio side."""
    async with triton_aio.InferenceServerClient(address) as client:
        result = await client.infer(digits, [tensor("x", "FP32", rows)], client_timeout=TIMEOUT_S)
    return result.as_numpy("y")


def inference(client: Any, address: str, digits: str, strings: str, directory: Path) -> dict[str, Any]:
    """Every kind of call; the numbers go to a file."""
    rows = np.load(directory / "x.npy")
    wanted = [triton.InferRequestedOutput("y")]
    plain = client.infer(digits, [tensor("x", "FP32", rows)], outputs=wanted, request_id="call-1")
    packed = client.infer(digits, [tensor("x", "FP32", rows)], model_version="1", compression_algorithm="gzip")
    np.savez(
        directory / "y.npz",
        plain=plain.as_numpy("y"),
        packed=packed.as_numpy("y"),
        many=many(client, digits, rows[:CALLS]),
        asyncio=asyncio.run(from_asyncio(address, digits, rows)),
    )
    words = [np.array(words, object) for words in ([b"ab", "é".encode(), b""], [b"cd", b"!", b"x"])]
    joined = client.infer(strings, [tensor("a", "BYTES", words[0]), tensor("b", "BYTES", words[1])])
    response = plain.get_response(as_json=True)
    return {
        "id": response["id"],
        "version": response["model_version"],
        "output": response["outputs"][0],
        "strings": [word.decode() for word in joined.as_numpy("c")],
    }


def errors(client: Any, digits: str, strings: str, idle: str) -> dict[str, Any]:
    """What bad calls are answered with."""
    row, words = np.zeros((1, 64), np.float32), np.array([b"a"], object)
    x = tensor("x", "FP32", row)
    bad: dict[str, Callable[[], Any]] = {
        "unknown model": lambda: client.infer("no-such-model", [x]),
        "unknown version": lambda: client.infer(digits, [x], model_version="99"),
        "metadata of an unknown model": lambda: client.get_model_metadata("no-such-model"),
        "not deployed": lambda: client.infer(idle, [x]),
        "wrong shape": lambda: client.infer(digits, [tensor("x", "FP32", row[:, :63])]),
        "wrong rank": lambda: client.infer(digits, [tensor("x", "FP32", row[0])]),
        "wrong datatype": lambda: client.infer(digits, [tensor("x", "FP64", row.astype(np.float64))]),
        "wrong byte length": lambda: client.infer(digits, [tensor("x", "FP32", row, [2, 64])]),
        "misnamed input": lambda: client.infer(digits, [tensor("z", "FP32", row)]),
        "missing input": lambda: client.infer(strings, [tensor("a", "BYTES", words)]),
        "unknown output": lambda: client.infer(digits, [x], outputs=[triton.InferRequestedOutput("z")]),
    }
    return {name: failure(call) for name, call in bad.items()}


def main(address: str, directory: str, digits: str, strings: str, idle: str) -> None:
    """Do all of it, and report."""
    with triton.InferenceServerClient(address) as client:
        report = {
            "health": health(client, digits, idle),
            "inference": inference(client, address, digits, strings, Path(directory)),
            "errors": errors(client, digits, strings, idle),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
