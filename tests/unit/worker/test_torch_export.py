"""torch.export behind our interface: every datatype, nesting, conditions on shapes; and no code of an artifact runs."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.export import Dim

from modelyard import torch_export
from modelyard.catalogue import TensorSpec
from modelyard.deployment import InstanceOptions
from modelyard.errors import InvalidInputError, ModelExecutionError
from modelyard.oip.datatypes import DATATYPES
from modelyard.oip.tensors import Array
from modelyard_worker import runtimes
from modelyard_worker.runtimes.torch_export import TorchExportRuntime
from tests import programs

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch's, while it exports

ROWS = Dim("rows")
SHAPES: list[tuple[int, ...]] = [(), (1,), (0,), (3, 2), (2, 0, 3)]
TENSORS = [name for name in DATATYPES if name != "BYTES"]


def loaded(directory: Path, forward: Any, *args: Any, **options: Any) -> TorchExportRuntime:
    programs.save(directory / "m.pt2", forward, *args, **options)
    return TorchExportRuntime(directory, 1)


def ones() -> torch.Tensor:
    """An example input; torch.export takes one that is given twice for one input."""
    return torch.ones(2, 3)


def floats(*shape: int) -> Array:
    return np.random.default_rng(7).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("rows", [0, 1, 2, 5, 64])
def test_answers_equal_a_local_run(rows: int, tmp_path: Path) -> None:
    path = programs.classifier(tmp_path / "m.pt2")
    local = torch.export.load(path).module()
    x = floats(rows, 64)
    torch.set_num_threads(1)
    with torch.inference_mode():
        expected = local(torch.from_numpy(x)).numpy()
    found = TorchExportRuntime(tmp_path, 1).run({"x": x}, ["output"])["output"]
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


def test_the_signature_is_the_registrys(tmp_path: Path) -> None:
    path = programs.classifier(tmp_path / "m.pt2")
    runtime = runtimes.load("torch_export", tmp_path, InstanceOptions(), 2)
    assert runtime.signature == torch_export.read_signature(path)
    assert runtime.platform == "torch_export"
    assert runtime.labels == ()


def values(datatype: str, shape: tuple[int, ...]) -> Array:
    if datatype == "BF16":
        return np.resize(np.array([0x3F80, 0xC020], np.uint16), int(np.prod(shape))).reshape(shape)
    return np.array(np.random.default_rng(3).integers(0, 2, shape).astype(DATATYPES[datatype].dtype))


def tensor(array: Array, datatype: str) -> torch.Tensor:
    copied = torch.from_numpy(array.copy())
    return copied.view(torch.bfloat16) if datatype == "BF16" else copied


@pytest.mark.parametrize("datatype", TENSORS)
def test_every_datatype_in_shapes_at_the_edges(datatype: str, tmp_path: Path) -> None:
    given = {f"x{i}": values(datatype, shape) for i, shape in enumerate(SHAPES)}
    examples = [tensor(array, datatype) for array in given.values()]
    runtime = loaded(tmp_path, lambda x0, x1, x2, x3, x4: (x0.clone(), x1, x2, x3, x4.clone()), *examples)
    assert runtime.signature.inputs == tuple(TensorSpec(name, datatype, array.shape) for name, array in given.items())
    frozen = {n: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape) for n, a in given.items()}
    found = runtime.run(frozen, [f"output_{i}" for i in range(len(SHAPES))])
    for array, answer in zip(given.values(), found.values(), strict=True):
        assert (answer.shape, answer.dtype, answer.tobytes()) == (array.shape, array.dtype, array.tobytes())


def test_bfloat16_is_computed_and_not_only_passed(tmp_path: Path) -> None:
    runtime = loaded(tmp_path, lambda x: x + x, torch.ones(3, dtype=torch.bfloat16))
    bits = (np.array([1.0, -2.5, 0.0], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    doubled = runtime.run({"x": bits}, ["output"])["output"]
    assert ((doubled.astype(np.uint32) << 16).view(np.float32)).tolist() == [2.0, -5.0, 0.0]


def test_nested_inputs_and_outputs_have_the_registrys_names(tmp_path: Path) -> None:
    def forward(d: dict[str, Any], t: Any, *, scale: Any) -> Any:
        return {"sum": d["p"] + t[0] * scale, "rest": (t[1], None, d["p"] - t[0])}

    runtime = loaded(tmp_path, forward, {"p": ones()}, (ones(), ones()), kwargs={"scale": ones()})
    assert [t.name for t in runtime.signature.inputs] == ["d_p", "t_0", "t_1", "scale"]
    inputs = {"scale": np.full((2, 3), 10, np.float32), "t_1": floats(2, 3), "t_0": floats(2, 3), "d_p": floats(2, 3)}
    found = runtime.run(inputs, ["rest_2", "sum", "rest_0"])
    assert np.array_equal(found["sum"], inputs["d_p"] + inputs["t_0"] * 10)
    assert np.array_equal(found["rest_2"], inputs["d_p"] - inputs["t_0"])
    assert np.array_equal(found["rest_0"], inputs["t_1"])


def test_only_the_outputs_asked_for(tmp_path: Path) -> None:
    runtime = loaded(tmp_path, lambda x: (x + 1, x + 2), ones())
    assert list(runtime.run({"x": floats(2, 3)}, ["output_1"])) == ["output_1"]


def test_constants_of_the_export_stay_what_they_were(tmp_path: Path) -> None:
    runtime = loaded(tmp_path, lambda x, n, y: x * n + y, ones(), 3, ones())
    assert [t.name for t in runtime.signature.inputs] == ["x", "y"]
    found = runtime.run({"x": np.ones((2, 3), np.float32), "y": np.zeros((2, 3), np.float32)}, ["output"])
    assert np.all(found["output"] == 3)


def test_a_program_that_changes_its_input_does_not_change_the_request(tmp_path: Path) -> None:
    runtime = loaded(tmp_path, lambda x: x.add_(1), ones())
    request = np.ones((2, 3), np.float32).tobytes()
    x = np.frombuffer(request, np.float32).reshape(2, 3)
    for _ in range(2):
        assert np.all(runtime.run({"x": x}, ["output"])["output"] == 2)
    assert np.all(x == 1)


def test_buffers_keep_what_the_program_writes(tmp_path: Path) -> None:
    class Counter(torch.nn.Module):
        count: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count.add_(1)
            return x + self.count

    runtime = loaded(tmp_path, Counter(), torch.zeros(1))
    zero = np.zeros(1, np.float32)
    assert [float(runtime.run({"x": zero}, ["output"])["output"][0]) for _ in range(3)] == [1, 2, 3]


def test_shapes_that_the_export_excludes_are_the_callers_fault(tmp_path: Path) -> None:
    runtime = loaded(tmp_path, lambda x: x + 1, ones(), dynamic={"x": {0: Dim("rows", max=8)}})
    assert runtime.run({"x": floats(8, 3)}, ["output"])["output"].shape == (8, 3)
    with pytest.raises(InvalidInputError, match=r"expected shapes with .*<= 8, .* got x \[9, 3\]"):
        runtime.run({"x": floats(9, 3)}, ["output"])


def test_what_the_model_itself_raises_is_its_failure(tmp_path: Path) -> None:
    runtime = loaded(
        tmp_path,
        lambda table, i: table[i],
        torch.arange(4.0),
        torch.tensor([0, 1]),
        dynamic={"table": None, "i": {0: ROWS}},
    )
    table = np.arange(4, dtype=np.float32)
    with pytest.raises(ModelExecutionError, match="out of"):
        runtime.run({"table": table, "i": np.array([9, 9])}, ["output"])
    assert runtime.run({"table": table, "i": np.array([3, 0])}, ["output"])["output"].tolist() == [3.0, 0.0]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_lower_precision_keeps_the_signature(precision: str, tmp_path: Path) -> None:
    programs.classifier(tmp_path / "m.pt2")
    x = floats(5, 64)
    exact, rounded = (
        TorchExportRuntime(tmp_path, 1, "cpu", p).run({"x": x}, ["output"])["output"] for p in ("", precision)
    )
    assert rounded.dtype == np.float32
    assert not np.array_equal(rounded, exact)
    np.testing.assert_allclose(rounded, exact, atol=0.01)


def test_a_lower_precision_of_a_program_that_asserts_its_datatypes(tmp_path: Path) -> None:
    programs.save(tmp_path / "m.pt2", lambda x, w: (x @ w).to(torch.float32) * 2, torch.ones(2, 3), torch.ones(3, 4))
    runtime = TorchExportRuntime(tmp_path, 1, "cpu", "bf16")
    found = runtime.run({"x": np.ones((2, 3), np.float32), "w": np.ones((3, 4), np.float32)}, ["output"])
    assert np.all(found["output"] == 6)


def test_each_model_runs_with_its_own_threads(tmp_path: Path) -> None:
    programs.classifier(tmp_path / "m.pt2")
    one, two = TorchExportRuntime(tmp_path, 1), TorchExportRuntime(tmp_path, 2)
    for runtime, threads in ((one, 1), (two, 2), (one, 1)):
        runtime.run({"x": floats(1, 64)}, ["output"])
        assert torch.get_num_threads() == threads


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "entry", ["data/sample_inputs/model.pt", "data/weights/weight_0", "data/constants/custom_obj_0"]
)
def test_an_archive_with_a_pickle_is_refused_and_not_unpickled(entry: str, tmp_path: Path) -> None:
    path = programs.classifier(tmp_path / "m.pt2")
    content = programs.entries(path)
    bomb = tmp_path / "bomb"
    content[entry] = programs.torch_save(Bomb(bomb)) if "sample" in entry else pickle.dumps(Bomb(bomb))
    config = "data/weights/model_weights_config.json"
    if "weight_0" in entry:
        content[config] = content[config].replace(b'"use_pickle": false', b'"use_pickle": true')
        assert b'"use_pickle": true' in content[config]
    programs.write(path, content)
    with pytest.raises(InvalidInputError, match=r"m\.pt2"):
        TorchExportRuntime(tmp_path, 1)
    assert not bomb.exists()


def test_torch_itself_would_have_unpickled_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above fears is real; and were the archive not vetted, torch's restricted unpickler would refuse."""
    path = programs.classifier(tmp_path / "m.pt2")
    bomb = tmp_path / "bomb"
    signature = torch_export.read_signature(path)
    programs.change(
        path, data__sample_inputs__model=None, **{"data__sample_inputs__model.pt": programs.torch_save(Bomb(bomb))}
    )
    monkeypatch.setattr(torch_export, "read_signature", lambda _: signature)
    with pytest.raises(InvalidInputError, match=r"m\.pt2: expected an archive that torch .* loads on cpu: .*eights"):
        TorchExportRuntime(tmp_path, 1)
    assert not bomb.exists()
    with pytest.raises((AssertionError, TypeError)):  # it unpickles, and then trips over what it got
        torch.export.load(path)
    assert bomb.exists()


def test_an_archive_that_torch_cannot_load(tmp_path: Path) -> None:
    path = programs.classifier(tmp_path / "m.pt2")
    programs.edit(path, lambda p: programs.graph(p)["nodes"][0].update(target="torch.ops.aten.no_such.default"))
    with pytest.raises(InvalidInputError, match=r"m\.pt2: expected an archive that torch 2\S* loads on cpu: "):
        TorchExportRuntime(tmp_path, 1)


@pytest.mark.parametrize("place", ["target", "args"])
def test_what_is_no_operator_is_refused_before_it_is_called(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = torch.export.load(programs.classifier(tmp_path / "m.pt2"))
    node = next(node for node in program.graph.nodes if node.op == "call_function")
    setattr(node, place, getattr if place == "target" else (*node.args[:-1], [getattr]))
    monkeypatch.setattr(torch.export, "load", lambda path: program)
    with pytest.raises(InvalidInputError, match=r"TypeError: expected an operator of torch, got .*getattr"):
        TorchExportRuntime(tmp_path, 1)


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: torch.vmap(torch.sum)(x + 1),
        lambda x: (x > 0) & (x < 3),
        lambda x: x.reshape(x.shape[0] * 3) + x.shape[0] // 2,
        lambda x: torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,)),
    ],
)
def test_what_torch_itself_writes_is_an_operator(forward: Any, tmp_path: Path) -> None:
    assert loaded(tmp_path, forward, ones(), dynamic=({0: ROWS},)).run({"x": floats(4, 3)}, ["output"])


def test_something_that_is_no_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt2", "w") as archive:
        archive.writestr("m/readme", b"")
    with pytest.raises(InvalidInputError, match=r"m\.pt2: expected a file of torch\.export\.save"):
        TorchExportRuntime(tmp_path, 1)
