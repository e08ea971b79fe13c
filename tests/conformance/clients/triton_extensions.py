"""An unmodified tritonclient and the extensions: `python triton_extensions.py ADDRESS DIRECTORY DIGITS`.

Streams, sequences, shared memory, classification, configuration, statistics and settings, on the rows of
DIRECTORY/x.npy; prints what the server said as JSON.
"""

from __future__ import annotations

import json
import queue
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

TIMEOUT_S = 30
ROWS = 8


def tensor(array: Any, name: str = "x") -> Any:
    """An input as the client wants it."""
    built = triton.InferInput(name, array.shape, "FP32")
    built.set_data_from_numpy(array)
    return built


def refused(call: Callable[[], Any]) -> dict[str, str]:
    """The status and message of a call that must fail."""
    try:
        answer = call()
    except InferenceServerException as error:
        return {"status": str(error.status()).removeprefix("StatusCode."), "message": error.message()}
    return {"status": "no error", "message": str(answer)}


class Stream:
    """A stream of the client: send, then receive so many answers."""

    def __init__(self, client: Any) -> None:
        self._answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self._client = client
        client.start_stream(callback=lambda result, error: self._answers.put((result, error)))

    def send(self, model: str, inputs: list[Any], **options: Any) -> None:
        self._client.async_stream_infer(model, inputs, **options)

    def receive(self, count: int) -> list[dict[str, Any]]:
        found = []
        for _ in range(count):
            result, error = self._answers.get(timeout=TIMEOUT_S)
            if error is not None:
                found.append({"error": error.message()})
                continue
            response = result.get_response()
            final = response.parameters["triton_final_response"].bool_param
            found.append({"id": response.id, "y": result.as_numpy("y").tolist(), "final": final})
        return found

    def end(self) -> None:
        self._client.stop_stream()


def streaming(client: Any, digits: str, rows: Any) -> dict[str, Any]:
    """Many calls in flight, a bad one among them."""
    stream = Stream(client)
    for index, row in enumerate(rows):
        if index == ROWS // 2:
            stream.send(digits, [tensor(row[None, :63])], request_id="bad")
        stream.send(digits, [tensor(row[None])], request_id=str(index))
    many = stream.receive(len(rows) + 1)
    stream.send(digits, [tensor(rows[:1])], request_id="final", enable_empty_final_response=True)
    final = stream.receive(1)
    stream.send("no-such-model", [tensor(rows[:1])], request_id="nobody")
    unknown = stream.receive(1)
    stream.end()
    return {"many": many, "final": final, "unknown": unknown}


def sequences(client: Any, digits: str, rows: Any) -> dict[str, Any]:
    """Calls of one sequence, on a stream and one by one."""
    stream = Stream(client)
    numbers = range(1 << 40, (1 << 40) + 2)
    for index in range(ROWS):
        flags = {"sequence_start": index == 0, "sequence_end": index == ROWS - 1}
        for number in numbers:
            stream.send(
                digits, [tensor(rows[index][None])], request_id=f"{number}/{index}", sequence_id=number, **flags
            )
    streamed = stream.receive(ROWS * len(numbers))
    stream.end()
    name = uuid.uuid4().hex
    unary = [
        client.infer(digits, [tensor(rows[i][None])], sequence_id=name, sequence_start=i == 0, sequence_end=i == 2)
        for i in range(3)
    ]
    again = refused(lambda: client.infer(digits, [tensor(rows[:1])], sequence_id=name))
    return {"streamed": streamed, "unary": [u.as_numpy("y").tolist() for u in unary], "never started": again}


def shared_memory(client: Any, digits: str, rows: Any) -> dict[str, Any]:
    """Inputs from one region and outputs into another."""
    key, size_in, size_out = f"/modelyard-{uuid.uuid4().hex}", rows[:ROWS].nbytes, ROWS * 10 * 4
    region = shm.create_shared_memory_region("both", key, size_in + size_out)
    try:
        shm.set_shared_memory_region(region, [rows[:ROWS]])
        client.register_system_shared_memory("rows", key, size_in)
        client.register_system_shared_memory("answers", key, size_out, offset=size_in)
        status = client.get_system_shared_memory_status(as_json=True)
        given = triton.InferInput("x", [ROWS, 64], "FP32")
        given.set_shared_memory("rows", size_in)
        wanted = triton.InferRequestedOutput("y")
        wanted.set_shared_memory("answers", size_out)
        result = client.infer(digits, [given], outputs=[wanted])
        found = shm.get_contents_as_numpy(region, np.float32, [ROWS, 10], offset=size_in).tolist()
        said = {
            "status": status["regions"],
            "y": found,
            "sent": len(result.get_response().raw_output_contents[0]),
            "refused": shared_memory_refusals(client, digits, key, size_in),
        }
    finally:
        client.unregister_system_shared_memory("rows")
        client.unregister_system_shared_memory("answers")
        shm.destroy_shared_memory_region(region)
    said["afterwards"] = client.get_system_shared_memory_status(as_json=True)
    return said


def shared_memory_refusals(client: Any, digits: str, key: str, size: int) -> dict[str, dict[str, str]]:
    """What does not fit the region `rows`."""

    def infer(name: str, byte_size: int, offset: int = 0, output: int = 0) -> Any:
        given = triton.InferInput("x", [ROWS, 64], "FP32")
        given.set_shared_memory(name, byte_size, offset)
        wanted = triton.InferRequestedOutput("y")
        if output:
            wanted.set_shared_memory("answers", output)
        return client.infer(digits, [given], outputs=[wanted])

    register = client.register_system_shared_memory
    return {
        "unknown region": refused(lambda: infer("nowhere", size)),
        "beyond the region": refused(lambda: infer("rows", size, offset=4)),
        "too few bytes": refused(lambda: infer("rows", size - 4)),
        "output does not fit": refused(lambda: infer("rows", size, output=4)),
        "registered otherwise": refused(lambda: register("rows", key, size - 1)),
        "no such key": refused(lambda: register("other", "/no-such-key", 4)),
        "larger than it is": refused(lambda: register("other", key, 1 << 30)),
        "status of none": refused(lambda: client.get_system_shared_memory_status("nowhere")),
        "cuda": refused(lambda: client.register_cuda_shared_memory("gpu", b"aGFuZGxl", 0, 4)),
    }


def parameters(client: Any, digits: str, rows: Any) -> dict[str, Any]:
    """Classes instead of outputs; priorities and timeouts, good and bad."""
    x = [tensor(rows[:2])]
    classes = client.infer(digits, x, outputs=[triton.InferRequestedOutput("y", class_count=3)]).as_numpy("y")
    good = client.infer(digits, x, priority=1, timeout=10_000_000, parameters={"colour": "red"})
    return {
        "classes": [[element.decode() for element in row] for row in classes],
        "good": good.as_numpy("y").tolist(),
        "refused": {
            "priority": refused(lambda: client.infer(digits, x, priority=10)),
            "timeout 0": refused(lambda: client.infer(digits, x, timeout=0)),
            "timeout -1": refused(lambda: client.infer(digits, x, timeout=-1)),
            "sequence -1": refused(lambda: client.infer(digits, x, sequence_id=-1, sequence_start=True)),
        },
    }


def description(client: Any, digits: str) -> dict[str, Any]:
    """What the server says of itself and of the model."""
    client.update_log_settings({"log_verbose_level": 1})
    verbose = client.get_log_settings(as_json=True)
    client.update_log_settings({"log_verbose_level": 0})
    return {
        "server": client.get_server_metadata(as_json=True),
        "config": client.get_model_config(digits, as_json=True)["config"],
        "statistics": client.get_inference_statistics(digits, as_json=True)["model_stats"],
        "all statistics": [s["name"] for s in client.get_inference_statistics(as_json=True)["model_stats"]],
        "verbose": verbose["settings"]["log_verbose_level"],
        "quiet": client.get_log_settings(as_json=True)["settings"],
        "bad log setting": refused(lambda: client.update_log_settings({"colour": True})),
        "index": client.get_model_repository_index(as_json=True)["models"],
        "load": client.load_model(digits),
        "traces": client.get_trace_settings(digits, as_json=True)["settings"],
        "tracing": refused(lambda: client.update_trace_settings(digits, {"trace_level": ["TIMESTAMPS"]})),
    }


def main(address: str, directory: str, digits: str) -> None:
    """Do all of it, and report."""
    rows = np.load(Path(directory) / "x.npy")
    with triton.InferenceServerClient(address) as client:
        report = {
            "streaming": streaming(client, digits, rows),
            "sequences": sequences(client, digits, rows),
            "shared memory": shared_memory(client, digits, rows),
            "parameters": parameters(client, digits, rows),
            "description": description(client, digits),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
