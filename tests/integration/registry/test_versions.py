from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Alias, Model, Resources, Signature, Version
from modelyard.deployment import Deployment
from modelyard.errors import (
    AlreadyExistsError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
)
from modelyard.etcd import Etcd
from modelyard_registry.catalogue import Catalogue
from tests.integration.registry.remote import Remote, refused

DIGEST = "0" * 64


def draft(version: str = "", time_s: float = 0.0) -> Version:
    return Version("digits", version, "onnx", Signature(), Resources(), DIGEST, 10, create_time_s=time_s)


@pytest.fixture
async def catalogue(etcd: Etcd) -> Catalogue:
    """The catalogue in this process, with the model `digits`."""
    found = Catalogue(etcd, 3600.0)
    await found.models.register(Model("digits"))
    return found


@pytest.fixture
async def digits(registry: Remote) -> Remote:
    await registry("RegisterModel", name="digits")
    return registry


async def aliases(registry: Remote) -> dict[str, str]:
    return {a.name: a.version for a in (await registry("GetModel", name="digits")).aliases}


async def test_a_version_says_what_was_pushed(
    digits: Remote, as_tenant: Callable[[str], Remote], onnx_bytes: bytes
) -> None:
    said = await as_tenant("acme").push(
        "digits",
        {"m.onnx": onnx_bytes},
        resources={"cpu": 0.5, "memory_bytes": 1 << 40, "gpu": 1},
        labels={"quality": "good"},
        description="first",
    )
    assert said == await digits("GetVersion", model="digits", version="1")
    assert (said.model, said.version, said.format, said.tenant) == ("digits", "1", "onnx", "acme")
    assert (said.size_bytes, said.description, dict(said.labels)) == (len(onnx_bytes), "first", {"quality": "good"})
    assert (said.resources.cpu, said.resources.memory_bytes, said.resources.gpu) == (0.5, 1 << 40, 1)
    assert [(t.name, t.datatype, list(t.shape)) for t in said.signature.inputs] == [("x", "FP32", [-1, 4])]
    assert [(t.name, t.datatype, list(t.shape)) for t in said.signature.outputs] == [("y", "FP32", [-1, 2])]
    assert await digits.pull("digits") == {"m.onnx": onnx_bytes}


async def test_numbers_and_names(digits: Remote, onnx_bytes: bytes) -> None:
    pushed = [(await digits.push("digits", {"m.onnx": onnx_bytes}, name)).version for name in ("", "7", "rc-1", "")]
    assert pushed == ["1", "7", "rc-1", "8"]
    assert (await digits("GetVersion", model="digits")).version == "8"
    assert (await digits("GetModel", name="digits")).latest_version == "8"
    listed = await digits("ListVersions", model="digits")
    assert [v.version for v in listed.versions] == ["1", "7", "8", "rc-1"]


async def test_eight_at_once_get_numbers_of_their_own(digits: Remote, onnx_bytes: bytes) -> None:
    sent = await digits.send({"m.onnx": onnx_bytes})
    create = [digits("CreateVersion", model="digits", format="onnx", manifest=sent) for _ in range(8)]
    created = await asyncio.gather(*create)
    assert sorted(int(v.version) for v in created) == list(range(1, 9))


async def test_the_same_twice_is_one(digits: Remote, onnx_bytes: bytes) -> None:
    files = {"m.onnx": onnx_bytes, "readme": b"text"}
    first = await digits.push("digits", files, "v1", description="first")
    assert await digits.push("digits", dict(reversed(files.items())), "v1", description="second") == first


async def test_other_content_is_refused(digits: Remote, onnx_bytes: bytes) -> None:
    first = await digits.push("digits", {"m.onnx": onnx_bytes}, "v1")
    for files in ({"other.onnx": onnx_bytes}, {"m.onnx": onnx_bytes, "readme": b"text"}):
        message = await refused(AlreadyExistsError, digits.push("digits", files, "v1"))
        assert first.manifest_digest[:12] in message
    assert await digits("GetVersion", model="digits", version="v1") == first


async def test_the_newest_is_the_last_published_whatever_the_clocks_say(catalogue: Catalogue) -> None:
    await catalogue.publications.publish(draft("fast-clock", time_s=2e9))
    await catalogue.publications.publish(draft("slow-clock", time_s=1e9))
    await catalogue.aliases.set("digits", Alias("prod", "fast-clock"))
    assert (await catalogue.versions.get("digits", "")).version == "slow-clock"
    assert (await catalogue.models.get("digits")).latest_version == "slow-clock"


async def test_paging_over_versions(digits: Remote, etcd: Etcd) -> None:
    names = sorted(f"v{n}" for n in range(30))
    for name in names:
        await etcd.put(keys.version("digits", name), codec.encode(draft(name)))
    found, token = [], ""
    while True:
        page = await digits("ListVersions", model="digits", page_size=7, page_token=token)
        found += [v.version for v in page.versions]
        if not (token := page.next_page_token):
            break
    assert found == names
    await refused(InvalidInputError, digits("ListVersions", model="digits", page_size=-1))
    await refused(InvalidInputError, digits("ListVersions", model="digits", page_token="a/b"))


async def test_unknown_versions(digits: Remote, etcd: Etcd) -> None:
    assert "no version yet" in await refused(NotFoundError, digits("GetVersion", model="digits"))
    message = await refused(NotFoundError, digits("GetVersion", model="digits", version="3"))
    assert message == "model 'digits': no version or alias '3'; it has none"
    for n in range(10, 60):
        await etcd.put(keys.version("digits", str(n)), codec.encode(draft(str(n))))
    message = await refused(NotFoundError, digits("DeleteVersion", model="digits", version="3"))
    assert message.endswith("it has 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 40 more")
    await refused(NotFoundError, digits("SetAlias", model="digits", alias="prod", version="3"))
    await refused(NotFoundError, digits("DeleteAlias", model="digits", alias="prod"))
    assert await aliases(digits) == {}


@pytest.mark.parametrize("name", ["a/b", "a b", "x" * 129, "..", "1/../2"])
async def test_bad_names(digits: Remote, etcd: Etcd, name: str, onnx_bytes: bytes) -> None:
    calls = {
        "GetVersion": {"version": name},
        "DeleteVersion": {"version": name},
        "SetAlias": {"version": "1", "alias": name},
        "DeleteAlias": {"alias": name},
    }
    for method, fields in calls.items():
        assert "name" in await refused(InvalidInputError, digits(method, model="digits", **fields))
    await refused(InvalidInputError, digits.push("digits", {"m.onnx": onnx_bytes}, name))
    assert list((await etcd.list(keys.MODELS)).items) == [keys.model("digits")]


async def test_an_alias_is_set_moved_and_deleted(
    digits: Remote, as_tenant: Callable[[str], Remote], etcd: Etcd
) -> None:
    for name in ("1", "2"):
        await etcd.put(keys.version("digits", name), codec.encode(draft(name)))
    said = await as_tenant("acme")("SetAlias", model="digits", alias="prod", version="1")
    assert (said.name, said.version, said.tenant) == ("prod", "1", "acme")
    assert (await digits("GetVersion", model="digits", version="prod")).version == "1"
    await digits("SetAlias", model="digits", alias="prod", version="2")
    await digits("SetAlias", model="digits", alias="canary", version="prod")
    await digits("SetAlias", model="digits", alias="head", version="")
    assert await aliases(digits) == {"prod": "2", "canary": "2", "head": "2"}
    await digits("DeleteAlias", model="digits", alias="prod")
    assert await aliases(digits) == {"canary": "2", "head": "2"}
    await refused(NotFoundError, digits("GetVersion", model="digits", version="prod"))


async def test_an_alias_cannot_be_named_like_a_version_nor_a_version_like_an_alias(
    digits: Remote, onnx_bytes: bytes
) -> None:
    await digits.push("digits", {"m.onnx": onnx_bytes})
    await refused(AlreadyExistsError, digits("SetAlias", model="digits", alias="1", version="1"))
    await digits("SetAlias", model="digits", alias="prod", version="1")
    assert "alias" in await refused(AlreadyExistsError, digits.push("digits", {"m.onnx": onnx_bytes}, "prod"))
    await digits("SetAlias", model="digits", alias="2", version="1")
    assert (await digits.push("digits", {"m.onnx": onnx_bytes})).version == "3"
    assert (await digits("GetVersion", model="digits", version="2")).version == "1"


async def test_a_version_in_use_is_not_deleted(digits: Remote, etcd: Etcd) -> None:
    for name in ("1", "11"):
        await etcd.put(keys.version("digits", name), codec.encode(draft(name)))
    await digits("SetAlias", model="digits", alias="prod", version="1")
    delete = {"model": "digits", "version": "1"}
    assert "'prod'" in await refused(PreconditionError, digits("DeleteVersion", **delete))
    await refused(InvalidInputError, digits("DeleteVersion", model="digits", version="prod"))
    await digits("DeleteAlias", model="digits", alias="prod")
    wanted = Deployment("digits", "1", 1, Resources(), DIGEST, "onnx")
    await etcd.put(keys.deployment("digits", "1"), codec.encode(wanted))
    assert "undeploy" in await refused(PreconditionError, digits("DeleteVersion", **delete))
    await digits("DeleteVersion", model="digits", version="11")
    await etcd.delete(keys.deployment("digits", "1"))
    await digits("DeleteVersion", **delete, purge=True)
    await refused(NotFoundError, digits("GetVersion", **delete))
