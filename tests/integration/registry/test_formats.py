"""Each format from its files to its signature, and what is refused for being code."""

from __future__ import annotations

import json
import pickle
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from safetensors.numpy import save

from modelyard.catalogue import File, Manifest, Resources, Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.etcd import Etcd
from modelyard.pickled import CONVERSION
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.artifacts.holds import Holds
from modelyard_registry.artifacts.publisher import Draft, Publisher
from modelyard_registry.artifacts.store import ChunkStore, sha256
from modelyard_registry.catalogue import Catalogue
from modelyard_registry.formats.inspector import Inspector
from tests import models, programs
from tests.integration.registry.remote import RegistryServer, Remote, refused

WEIGHTS = save({"w": np.ones((64, 10), np.float32)})
RECIPE = {
    "signature": {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 10]}],
    }
}

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch's, while it exports


class Estimator:
    """Something to pickle."""


@pytest.fixture
async def digits(registry: Remote) -> Remote:
    await registry("RegisterModel", name="digits")
    return registry


@pytest.fixture
async def lenient(new_registry: Callable[..., RegistryServer], digits: Remote) -> AsyncIterator[Remote]:
    """A registry that was started with --allow-unsafe, on the same etcd."""
    server = new_registry(name="registry-lenient", options=["--allow-unsafe"])
    await server.wait_ready()
    remote = Remote(server.endpoint)
    yield remote
    await remote.close()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return programs.classifier(tmp_path_factory.mktemp("formats") / "m.pt2")


def signature(version: pb.Version) -> list[str]:
    tensors = [*version.signature.inputs, *version.signature.outputs]
    return [f"{t.name} {t.datatype} {list(t.shape)}" for t in tensors]


async def nothing_published(remote: Remote) -> bool:
    return not (await remote("ListVersions", model="digits")).versions


async def test_torch_export(digits: Remote, exported: Path) -> None:
    published = await digits.push("digits", {"m.pt2": exported.read_bytes()}, format="torch_export")
    assert published.format == "torch_export"
    assert signature(published) == ["x FP32 [-1, 64]", "output FP32 [-1, 10]"]
    assert await digits.pull("digits") == {"m.pt2": exported.read_bytes()}


async def test_safetensors(digits: Remote) -> None:
    files = {"a/m.safetensors": WEIGHTS, "recipe.json": json.dumps(RECIPE).encode(), "tokens.txt": b"a b c"}
    published = await digits.push("digits", files, format="safetensors")
    assert published.format == "safetensors"
    assert signature(published) == ["x FP32 [-1, 64]", "y FP32 [-1, 10]"]
    assert await digits.pull("digits") == files


async def test_weights_of_many_chunks(digits: Remote) -> None:
    """Of such a file only the header is laid out; the rest of it is there all the same."""
    weights = save({"w": np.random.default_rng(0).random(6 << 20, dtype=np.float32)})
    files = {"m.safetensors": weights, "recipe.json": json.dumps(RECIPE).encode()}
    assert (await digits.push("digits", files, format="safetensors")).size_bytes > 24 << 20
    cut = files | {"m.safetensors": weights[:-1]}
    message = await refused(InvalidInputError, digits.push("digits", cut, format="safetensors"))
    assert message.startswith("m.safetensors: expected 25165824 bytes of data after the header, got 25165823")


@pytest.mark.parametrize(
    ("format_name", "files", "reason"),
    [
        ("torch_export", {"m.pt2": b"no archive"}, "m.pt2: expected a zip file"),
        ("torch_export", {"m.onnx": b""}, "format torch_export: expected exactly one .pt2 file, got none"),
        ("safetensors", {"m.safetensors": WEIGHTS}, "recipe.json: expected it beside the weights"),
        ("safetensors", {"recipe.json": b"{}"}, "format safetensors: expected one .safetensors file or more"),
        ("pickle", {"m.pkl": b""}, "format: expected one of onnx, torch_export, safetensors; got 'pickle'"),
    ],
)
async def test_other_files(digits: Remote, format_name: str, files: dict[str, bytes], reason: str) -> None:
    message = await refused(InvalidInputError, digits.push("digits", files, format=format_name))
    assert message.startswith(reason)
    assert await nothing_published(digits)


@pytest.mark.parametrize("name", ["labels.pkl", "sub/weights.data"])
async def test_pickles_beside_a_model(digits: Remote, lenient: Remote, onnx_bytes: bytes, name: str) -> None:
    files = {"m.onnx": onnx_bytes, name: pickle.dumps([Estimator()] * 100_000)}
    message = await refused(InvalidInputError, digits.push("digits", files))
    assert message == f"{name}: expected a file that is read without running code, got a Python pickle; {CONVERSION}"
    assert await nothing_published(digits)
    assert (await lenient.push("digits", files)).version == "1"
    assert await lenient.pull("digits") == files


async def test_a_checkpoint_in_the_place_of_a_model(digits: Remote) -> None:
    files = {"m.onnx": programs.torch_save({"weight": None})}
    message = await refused(InvalidInputError, digits.push("digits", files))
    assert message.startswith("m.onnx: expected a file that is read without running code, got a file of torch.save")


async def test_code_inside_of_an_archive(digits: Remote, lenient: Remote, exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    path.write_bytes(exported.read_bytes())
    programs.edit(path, lambda program: program.update(guards_code=["__import__('os').abort()"]))
    files = {"m.pt2": path.read_bytes()}
    message = await refused(InvalidInputError, digits.push("digits", files, format="torch_export"))
    assert message.startswith("m.pt2: guards_code: expected an expression over shapes, got ")
    assert await nothing_published(digits)
    assert (await lenient.push("digits", files, format="torch_export")).version == "1"


async def test_weights_of_onnx_are_no_pickles(digits: Remote, tmp_path: Path) -> None:
    models.external(tmp_path, (64, 256, 10))
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert signature(await digits.push("digits", files)) == ["x FP32 [-1, 64]", "y FP32 [-1, 10]"]


def with_dimension(path: Path, exported: Path, value: int) -> dict[str, bytes]:
    path.write_bytes(exported.read_bytes())
    sizes = {"as_int": value}
    programs.edit(path, lambda program: programs.graph(program)["tensor_values"]["x"]["sizes"].__setitem__(1, sizes))
    return {"m.pt2": path.read_bytes()}


async def test_dimensions_that_no_message_carries(digits: Remote, exported: Path, tmp_path: Path) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1 << 63]}
    recipe = {"signature": {"inputs": [tensor], "outputs": [tensor]}}
    files = {"m.safetensors": WEIGHTS, "recipe.json": json.dumps(recipe).encode()}
    message = await refused(InvalidInputError, digits.push("digits", files, format="safetensors"))
    expected = "input 'x': expected dimensions of 0 to 9223372036854775807, or -1 for any, got "
    assert message == f"recipe.json: {expected}9223372036854775808"
    for value in (1 << 63, 1 << 70, -7):
        files = with_dimension(tmp_path / "m.pt2", exported, value)
        message = await refused(InvalidInputError, digits.push("digits", files, format="torch_export"))
        assert message == f"m.pt2: {expected}{value}"
    assert await nothing_published(digits)
    await digits.push("digits", with_dimension(tmp_path / "m.pt2", exported, (1 << 63) - 1), format="torch_export")
    assert signature(await digits("GetVersion", model="digits"))[0] == "x FP32 [-1, 9223372036854775807]"


class Lying(Inspector):
    """Reads nothing: every artifact has the signature that no reader would return."""

    async def signature(self, format_name: str, directory: Path) -> Signature:
        return Signature((TensorSpec("x", "FP32", (1 << 63,)),))


async def test_whatever_a_reader_says_is_checked_before_the_commit(digits: Remote, etcd: Etcd, tmp_path: Path) -> None:
    store = ChunkStore(str(tmp_path / "store"), "registry-1")
    await store.prepare()
    await store.put(sha256(b"any"), b"any")
    publisher = Publisher(Catalogue(etcd, 60.0).publications, store, Lying({}), Holds(etcd))
    manifest = Manifest((File("m.onnx", 3, (sha256(b"any"),)),))
    with pytest.raises(InvalidInputError, match="signature: input 'x': expected dimensions of 0 to "):
        await publisher.create_version(Draft("digits", "", "onnx", manifest, Resources(), {}, "", "default"))
    assert await nothing_published(digits)


async def test_operators_of_ones_own(digits: Remote, lenient: Remote) -> None:
    node = helper.make_node("Mish2", ["x"], ["y"], domain="my.ops")
    x, y = models.tensor("x", "FP32", [2]), models.tensor("y", "FP32", [2])
    opsets = [helper.make_opsetid("", models.OPSET), helper.make_opsetid("my.ops", 1)]
    made: onnx.ModelProto = helper.make_model(helper.make_graph([node], "test", [x], [y]), opset_imports=opsets)
    files = {"m.onnx": made.SerializeToString()}
    message = await refused(InvalidInputError, digits.push("digits", files))
    assert "got 'Mish2' of the domain 'my.ops', which is custom code; convert it: " in message
    assert await nothing_published(digits)
    assert (await lenient.push("digits", files)).version == "1"


@pytest.mark.parametrize(
    "extra", [{"model.py": b"import os"}, {"recipe.json": json.dumps(RECIPE | {"code": "import os"}).encode()}]
)
async def test_code_beside_weights(digits: Remote, lenient: Remote, extra: dict[str, bytes]) -> None:
    files = {"m.safetensors": WEIGHTS, "recipe.json": json.dumps(RECIPE).encode()} | extra
    message = await refused(InvalidInputError, digits.push("digits", files, format="safetensors"))
    assert message.endswith(f"; leave it out, or {CONVERSION}")
    assert await nothing_published(digits)
    assert (await lenient.push("digits", files, format="safetensors")).version == "1"
