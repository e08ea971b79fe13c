"""The command that calls a model, and how its inputs and outputs are written."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from modelyard.catalogue import TensorSpec
from modelyard.cli.command import Session, remote
from modelyard.errors import InvalidInputError
from modelyard.oip.datatypes import DATATYPES, datatype_of
from modelyard.results import Array, InferResult

app = typer.Typer()

LEAST_S = 0.001
_KINDS = {"b": "booleans", "i": "integers", "u": "integers", "f": "numbers with a fraction", "U": "text"}


@app.command()
@remote
def infer(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="a deployed model")],
    inputs: Annotated[
        list[str], typer.Option("--input", metavar="NAME=VALUE", help="x=@x.npy, x=[[1,2]] or x=some text")
    ],
    output: Annotated[Path | None, typer.Option(help="where to keep the output: y.npy, or all of them: y.npz")] = None,
    timeout: Annotated[float, typer.Option(min=LEAST_S, help="seconds to wait")] = 60.0,
) -> None:
    """Call a model. JSON and text become what the model's signature asks for; .npy files are sent as they are."""
    if output and output.suffix not in {".npy", ".npz"}:
        raise InvalidInputError(f"--output: expected a name that ends in .npy or .npz, got {output.name!r}")
    values = dict(_split(text) for text in inputs)
    ends_s = time.monotonic() + timeout
    with session.client() as client:
        is_asked = any(_is_value(text) for text in values.values())
        asked = client.metadata(name, timeout_s=timeout).signature.inputs if is_asked else ()
        specs = {spec.name: spec for spec in asked}
        arrays = {key: read_input(key, text, specs.get(key)) for key, text in values.items()}
        result = client.infer_result(name, arrays, timeout_s=max(LEAST_S, ends_s - time.monotonic()))
    if output:
        _save(output, result.outputs)
    session.output.show(_document(result), _text(result, output))


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidInputError(f"--input: expected NAME=VALUE, got {text!r}")
    return name, value


def read_input(name: str, text: str, spec: TensorSpec | None) -> Array:
    """Read one input as the command line has it.

    Args:
        name: the input's name.
        text: `@` and the name of a .npy file, or JSON, or a text. A scalar gets as many dimensions as the model
            wants, each 1.
        spec: what the model wants; None if it knows no such input (the server says so).

    Raises:
        InvalidInputError: there is no such file, or the value does not fit the datatype.
    """
    if not _is_value(text):
        return _load(name, Path(text[1:]))
    array = _array(name, _parse(text, spec))
    if spec:
        array = _convert(name, array, spec.datatype)
    return array.reshape((1,) * len(spec.shape)) if spec and array.ndim == 0 else array


def _is_value(text: str) -> bool:
    return not text.startswith("@")


def _load(name: str, path: Path) -> Array:
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InvalidInputError(f"--input {name}: expected a file at {path}, found nothing") from None
    except (ValueError, EOFError) as error:
        raise InvalidInputError(f"--input {name}: expected an array in {path}: {error}") from None
    if not isinstance(found, np.ndarray):
        raise InvalidInputError(f"--input {name}: expected one array in {path}, as numpy.save writes it")
    return found


def _parse(text: str, spec: TensorSpec | None) -> Any:
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        return text
    # For a model that takes text, a bare 42 or true is a text.
    wants_text = spec is not None and spec.datatype == "BYTES"
    return text if wants_text and not isinstance(values, list | str) else values


def _array(name: str, values: Any) -> Array:
    try:
        return np.asarray(values)
    except ValueError:
        raise InvalidInputError(f"--input {name}: expected rows of equal length") from None


def _convert(name: str, array: Array, datatype: str) -> Array:
    row = DATATYPES.get(datatype)
    if row is None or datatype == "BF16":
        raise InvalidInputError(f"--input {name}: the model wants {datatype}, which cannot be written here")
    if datatype == "BYTES" and array.dtype.kind == "U":
        return array
    fits = array.dtype.kind in "biuf" and datatype != "BYTES" and (array.dtype.kind != "f" or row.dtype.kind == "f")
    if not fits:
        raise InvalidInputError(f"--input {name}: expected {datatype}, got {_KINDS.get(array.dtype.kind, 'something')}")
    converted = array.astype(row.dtype)
    if row.dtype.kind in "iu" and not np.array_equal(converted, array):
        raise InvalidInputError(f"--input {name}: expected values in the range of {datatype}")
    return converted


def _save(path: Path, outputs: dict[str, Array]) -> None:
    # BYTES as fixed-length bytes: what numpy stores without pickle.
    arrays: dict[str, Any] = {
        name: array.astype(bytes) if array.dtype == object else array for name, array in outputs.items()
    }
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif len(arrays) == 1:
        np.save(path, next(iter(arrays.values())))
    else:
        raise InvalidInputError(f"--output: expected a .npz file for the {len(arrays)} outputs {', '.join(arrays)}")


def _document(result: InferResult) -> dict[str, Any]:
    outputs = {
        name: {"datatype": datatype_of(array), "shape": array.shape, "data": array}
        for name, array in result.outputs.items()
    }
    return {"model": result.model, "version": result.version, "worker": result.worker, "outputs": outputs}


def _text(result: InferResult, saved: Path | None) -> str:
    lines = [f"{result.model}@{result.version}{f' on {result.worker}' if result.worker else ''}"]
    for name, array in result.outputs.items():
        where = f" in {saved}" if saved else f"\n{np.array2string(_readable(array), threshold=1000)}"
        lines.append(f"{name}: {datatype_of(array)} {list(array.shape)}{where}")
    return "\n".join(lines)


def _readable(array: Array) -> Array:
    """BYTES as text."""
    if array.dtype != object:
        return array
    texts = [value.decode(errors="backslashreplace") for value in array.flat]
    return np.array(texts, dtype=object).reshape(array.shape)
