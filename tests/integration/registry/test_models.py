from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Model, Resources
from modelyard.deployment import Deployment
from modelyard.errors import InvalidInputError, NotFoundError, PreconditionError
from modelyard.etcd import Etcd
from modelyard.rpc.convert import seconds
from tests.integration.registry.remote import Remote, refused

PREFIXES_OF_EACH_OTHER = ["a", "a-b", "a.b", "a_b", "ab", "a0", "A"]


def deployment(model: str, version: str) -> bytes:
    return codec.encode(Deployment(model, version, 1, Resources(), "0" * 64, "onnx"))


async def names(registry: Remote, **fields: object) -> list[str]:
    return [m.name for m in (await registry("ListModels", **fields)).models]


async def pages(registry: Remote, page_size: int, prefix: str = "") -> list[list[str]]:
    found, token = [], ""
    while True:
        answer = await registry("ListModels", page_size=page_size, page_token=token, name_prefix=prefix)
        found.append([m.name for m in answer.models])
        if not (token := answer.next_page_token):
            return found


async def test_registered_is_found(registry: Remote) -> None:
    before = time.time()
    said = await registry(
        "RegisterModel", name="digits", description="ten of them", labels={"team": "a"}, licence="MIT"
    )
    assert said == await registry("GetModel", name="digits")
    assert (said.name, said.description, dict(said.labels), said.licence) == (
        "digits",
        "ten of them",
        {"team": "a"},
        "MIT",
    )
    assert said.tenant == "default"
    assert before <= seconds(said.create_time) <= time.time()
    assert (said.latest_version, list(said.aliases)) == ("", [])


async def test_an_update_keeps_tenant_and_time(registry: Remote, as_tenant: Callable[[str], Remote]) -> None:
    first = await as_tenant("acme")("RegisterModel", name="digits", description="one", labels={"a": "1"})
    second = await as_tenant("other")("RegisterModel", name="digits", description="two", labels={"b": "2"})
    assert first.tenant == second.tenant == "acme"
    assert first.create_time == second.create_time
    assert (second.description, dict(second.labels)) == ("two", {"b": "2"})
    assert await registry("GetModel", name="digits") == second


async def test_an_update_keeps_versions_and_aliases(registry: Remote, onnx_bytes: bytes) -> None:
    await registry("RegisterModel", name="digits")
    await registry.push("digits", {"m.onnx": onnx_bytes})
    await registry("SetAlias", model="digits", alias="prod", version="1")
    said = await registry("RegisterModel", name="digits", description="new")
    assert (said.latest_version, [a.name for a in said.aliases]) == ("1", ["prod"])


async def test_concurrent_updates_all_succeed(registry: Remote) -> None:
    await asyncio.gather(*(registry("RegisterModel", name="digits", description=str(n)) for n in range(30)))
    assert await names(registry) == ["digits"]


async def test_a_bad_tenant_is_refused(as_tenant: Callable[[str], Remote], registry: Remote) -> None:
    message = await refused(InvalidInputError, as_tenant("no/such tenant")("RegisterModel", name="digits"))
    assert "tenant" in message
    assert await names(registry) == []


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 129, "/a", "../a", "-a", "a\0b", "ä", "a@1", "x" * 100_000])
async def test_bad_names_are_refused(registry: Remote, etcd: Etcd, name: str) -> None:
    for method, field in (("RegisterModel", "name"), ("GetModel", "name"), ("DeleteModel", "name")):
        assert "model name" in await refused(InvalidInputError, registry(method, **{field: name}))
    assert not (await etcd.list(keys.MODELS)).items


async def test_the_longest_name(registry: Remote) -> None:
    await registry("RegisterModel", name="x" * 120)
    assert await names(registry) == ["x" * 120]


async def test_too_much_metadata_is_refused(registry: Remote, etcd: Etcd) -> None:
    message = await refused(InvalidInputError, registry("RegisterModel", name="digits", description="x" * 70_000))
    assert "65536" in message
    assert not (await etcd.list(keys.MODELS)).items


async def test_an_unknown_model(registry: Remote) -> None:
    calls = {
        "GetModel": {"name": "digits"},
        "DeleteModel": {"name": "digits"},
        "GetVersion": {"model": "digits"},
        "ListVersions": {"model": "digits"},
        "DeleteVersion": {"model": "digits", "version": "1"},
        "SetAlias": {"model": "digits", "alias": "prod", "version": "1"},
        "DeleteAlias": {"model": "digits", "alias": "prod"},
    }
    for method, fields in calls.items():
        assert await refused(NotFoundError, registry(method, **fields)) == "model 'digits': not registered"


async def test_paging_over_many_models_with_versions(registry: Remote, etcd: Etcd) -> None:
    expected = sorted(PREFIXES_OF_EACH_OTHER + [f"m{n}" for n in range(110)])
    for name in expected:
        await etcd.put(keys.model(name), codec.encode(Model(name)))
    for name in ("a", "a-b", "m0", "m1", "m50"):  # a long history in the way
        for version in range(150):
            await etcd.put(keys.version(name, str(version)), b"{}")
    assert (await pages(registry, 0))[0] == expected[:100]
    for size in (1000, 50, 7):
        found = await pages(registry, size)
        assert [name for page in found for name in page] == expected
        assert all(len(page) == size for page in found[:-1])


async def test_a_full_last_page_has_no_successor(registry: Remote) -> None:
    for name in ("a", "b"):
        await registry("RegisterModel", name=name)
    assert await pages(registry, 2) == [["a", "b"]]
    assert await pages(registry, 1) == [["a"], ["b"]]


async def test_names_that_begin_alike(registry: Remote, onnx_bytes: bytes) -> None:
    for name in PREFIXES_OF_EACH_OTHER:
        await registry("RegisterModel", name=name)
    await registry.push("a", {"m.onnx": onnx_bytes}, "only-of-a")
    await registry("SetAlias", model="a", alias="prod", version="only-of-a")
    listed = {m.name: (m.latest_version, len(m.aliases)) for m in (await registry("ListModels")).models}
    assert listed == {name: ("only-of-a", 1) if name == "a" else ("", 0) for name in PREFIXES_OF_EACH_OTHER}
    assert await names(registry, name_prefix="a") == sorted(set(PREFIXES_OF_EACH_OTHER) - {"A"})
    assert await names(registry, name_prefix="a-") == ["a-b"]
    assert await names(registry, name_prefix="b") == []
    await registry("DeleteModel", name="a")
    assert await names(registry) == sorted(set(PREFIXES_OF_EACH_OTHER) - {"a"})


async def test_a_token_of_another_prefix_finds_nothing_else(registry: Remote) -> None:
    for name in ("a", "ab", "b", "c"):
        await registry("RegisterModel", name=name)
    assert await names(registry, name_prefix="b", page_token="a") == ["b"]
    assert await names(registry, name_prefix="b", page_token="c") == []


async def test_bad_paging(registry: Remote) -> None:
    assert "page_size" in await refused(InvalidInputError, registry("ListModels", page_size=-1))
    for fields in ({"page_token": "a/b"}, {"name_prefix": "x" * 2_000_000}):
        await refused(InvalidInputError, registry("ListModels", **fields))


async def test_deleting_a_model_takes_all_of_it(registry: Remote, etcd: Etcd, onnx_bytes: bytes) -> None:
    await registry("RegisterModel", name="digits")
    await registry.push("digits", {"m.onnx": onnx_bytes})
    await registry("SetAlias", model="digits", alias="prod", version="1")
    await registry("DeleteModel", name="digits", purge=True)
    assert not (await etcd.list(keys.MODELS)).items
    await registry("RegisterModel", name="digits")
    assert (await registry("GetModel", name="digits")).latest_version == ""


async def test_a_deployed_model_is_not_deleted(registry: Remote, etcd: Etcd, onnx_bytes: bytes) -> None:
    await registry("RegisterModel", name="digits")
    await registry.push("digits", {"m.onnx": onnx_bytes})
    await etcd.put(keys.deployment("digits", "1"), deployment("digits", "1"))
    assert "undeploy" in await refused(PreconditionError, registry("DeleteModel", name="digits"))
    for name in ("digits-2", "digit"):
        await registry("RegisterModel", name=name)
        await registry("DeleteModel", name=name)
    assert (await registry("GetModel", name="digits")).latest_version == "1"
    await etcd.delete(keys.deployment("digits", "1"))
    await registry("DeleteModel", name="digits")
