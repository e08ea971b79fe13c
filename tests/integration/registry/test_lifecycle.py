"""Deletion with a grace period, retention, etags, field masks and request ids."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Alias, Lifecycle, Lineage, Model, Resources, Signature, TensorSpec, Version
from modelyard.deployment import Deployment
from modelyard.errors import (
    AbortedError,
    AlreadyExistsError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
)
from modelyard.etcd import Etcd
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.catalogue import Catalogue
from tests.integration.registry.remote import Remote, refused

GRACE_S = 3600.0
DIGEST = "0" * 64


def draft(version: str = "", **fields: Any) -> Version:
    return Version("digits", version, "onnx", Signature(), Resources(), DIGEST, 10, **fields)


@pytest.fixture
async def catalogue(etcd: Etcd) -> Catalogue:
    """The catalogue in this process; the model `digits` has the versions 1 to 3."""
    found = Catalogue(etcd, GRACE_S)
    await found.models.register(Model("digits"))
    for _ in range(3):
        await found.publications.publish(draft())
    return found


@pytest.fixture
async def digits(registry: Remote, catalogue: Catalogue) -> Remote:
    return registry


async def listed(catalogue: Catalogue, *, deleted: bool = False) -> list[str]:
    return [v.version for v in await catalogue.versions.page("digits", "", 100, deleted=deleted)]


async def deploy(etcd: Etcd, version: str) -> None:
    wanted = Deployment("digits", version, 1, Resources(), DIGEST, "onnx")
    await etcd.put(keys.deployment("digits", version), codec.encode(wanted))


async def test_a_deleted_version_can_be_brought_back(catalogue: Catalogue) -> None:
    deleted = await catalogue.versions.delete("digits", "3")
    assert deleted.state is Lifecycle.DELETED
    assert deleted.expire_time_s == deleted.update_time_s + GRACE_S
    assert await listed(catalogue) == ["1", "2"]
    assert await listed(catalogue, deleted=True) == ["1", "2", "3"]
    assert await catalogue.versions.get("digits", "3") == deleted
    assert (await catalogue.versions.get("digits", "")).version == "2"
    assert (await catalogue.models.get("digits")).latest_version == "2"
    back = await catalogue.versions.undelete("digits", "3")
    assert (back.state, back.expire_time_s) == (Lifecycle.ACTIVE, 0.0)
    assert (await catalogue.versions.get("digits", "")) == back


async def test_a_deleted_version_is_of_no_use(catalogue: Catalogue) -> None:
    await catalogue.versions.delete("digits", "3")
    for attempt in (
        catalogue.aliases.set("digits", Alias("prod", "3")),
        catalogue.versions.update("digits", "3", {"description": "new"}),
        catalogue.publications.publish(draft("3")),
    ):
        with pytest.raises(PreconditionError, match="digits@3: it is deleted; undelete it before 20"):
            await attempt
    assert (await catalogue.publications.publish(draft())).version == "4"


async def test_the_newest_is_found_behind_many_deleted_ones(catalogue: Catalogue) -> None:
    for _ in range(20):
        await catalogue.versions.delete("digits", (await catalogue.publications.publish(draft())).version)
    assert (await catalogue.versions.get("digits", "")).version == "3"


async def test_purged_is_gone_and_its_number_is_not_given_again(catalogue: Catalogue) -> None:
    await catalogue.versions.delete("digits", "3", purge=True)
    await catalogue.versions.delete("digits", "2")
    await catalogue.versions.delete("digits", "2", purge=True)
    assert await listed(catalogue, deleted=True) == ["1"]
    for attempt in (catalogue.versions.undelete("digits", "3"), catalogue.versions.delete("digits", "3")):
        with pytest.raises(NotFoundError, match="it has 1"):
            await attempt
    assert (await catalogue.publications.publish(draft())).version == "4"


async def test_deleting_and_bringing_back_twice_is_once(catalogue: Catalogue) -> None:
    assert await catalogue.versions.delete("digits", "3") == await catalogue.versions.delete("digits", "3")
    assert await catalogue.versions.undelete("digits", "3") == await catalogue.versions.undelete("digits", "3")
    assert await catalogue.models.delete("digits") == await catalogue.models.delete("digits")
    assert await catalogue.models.undelete("digits") == await catalogue.models.undelete("digits")


async def test_a_deleted_model_can_be_brought_back_whole(catalogue: Catalogue) -> None:
    await catalogue.aliases.set("digits", Alias("prod", "2"))
    before = await catalogue.models.get("digits")
    deleted = await catalogue.models.delete("digits")
    assert (deleted.state, deleted.aliases, deleted.latest_version) == (Lifecycle.DELETED, before.aliases, "3")
    assert await catalogue.models.get("digits") == deleted
    assert await catalogue.models.page("", "", 10) == []
    assert await catalogue.models.page("", "", 10, deleted=True) == [deleted]
    back = await catalogue.models.undelete("digits")
    assert back == dataclasses.replace(before, update_time_s=back.update_time_s, etag=back.etag)
    assert await listed(catalogue) == ["1", "2", "3"]


async def test_a_deleted_model_is_of_no_use(catalogue: Catalogue) -> None:
    await catalogue.models.delete("digits")
    for attempt in (
        catalogue.models.register(Model("digits")),
        catalogue.models.update("digits", {"description": "new"}),
        catalogue.publications.publish(draft()),
        catalogue.versions.get("digits", "1"),
        catalogue.versions.update("digits", "1", {"description": "new"}),
        catalogue.versions.undelete("digits", "1"),
        catalogue.aliases.set("digits", Alias("prod", "1")),
        catalogue.aliases.roll_back("digits", "prod", "default"),
        catalogue.aliases.delete("digits", "prod", "default"),
        catalogue.versions.delete("digits", "1"),
    ):
        with pytest.raises(PreconditionError, match="model 'digits': it is deleted; undelete it before 20"):
            await attempt


async def test_a_deployed_version_keeps_its_model(catalogue: Catalogue, etcd: Etcd) -> None:
    await deploy(etcd, "2")
    for purge in (False, True):
        with pytest.raises(PreconditionError, match="undeploy"):
            await catalogue.models.delete("digits", purge=purge)
        with pytest.raises(PreconditionError, match="undeploy"):
            await catalogue.versions.delete("digits", "2", purge=purge)
    assert await listed(catalogue) == ["1", "2", "3"]


async def wish(etcd: Etcd, version: str, job: str, replicas: int = 1) -> None:
    wanted = Deployment("digits", version, replicas, Resources(), DIGEST, "onnx")
    await etcd.put(keys.job("digits", version, job), codec.encode(wanted))


async def test_a_version_that_jobs_use_is_not_deleted_until_they_have_ended(catalogue: Catalogue, etcd: Etcd) -> None:
    for job in ("a", "b", "c", "d"):
        await wish(etcd, "2", job)
    await wish(etcd, "3", "over", replicas=0)
    for purge in (False, True):
        with pytest.raises(PreconditionError, match="model 'digits': jobs use it: a, b, c and 1 more; cancel them"):
            await catalogue.models.delete("digits", purge=purge)
        with pytest.raises(PreconditionError, match="digits@2: jobs use it: a, b, c and 1 more"):
            await catalogue.versions.delete("digits", "2", purge=purge)
    await catalogue.versions.delete("digits", "3", purge=True)
    for job in ("a", "b", "c", "d"):
        await wish(etcd, "2", job, replicas=0)
    await catalogue.models.delete("digits", purge=True)


async def test_a_wish_that_cannot_be_read_is_one(catalogue: Catalogue, etcd: Etcd) -> None:
    await etcd.put(keys.job("digits", "2", "later"), b"?")
    with pytest.raises(PreconditionError, match="jobs use it: later"):
        await catalogue.versions.delete("digits", "2")


async def test_what_jobs_use_is_kept_beside_the_last(catalogue: Catalogue, etcd: Etcd) -> None:
    await wish(etcd, "1", "a")
    await wish(etcd, "2", "over", replicas=0)
    await catalogue.models.update("digits", {"keep_last": 1})
    assert await listed(catalogue) == ["1", "3"]


async def test_only_the_last_are_kept_and_what_is_used(catalogue: Catalogue, etcd: Etcd) -> None:
    await deploy(etcd, "1")
    await catalogue.aliases.set("digits", Alias("prod", "2"))
    assert (await catalogue.models.update("digits", {"keep_last": 1})).keep_last == 1
    assert await listed(catalogue) == ["1", "2", "3"]
    await catalogue.publications.publish(draft())
    await catalogue.publications.publish(draft("rc"))
    assert await listed(catalogue) == ["1", "2", "rc"]
    assert (await catalogue.versions.get("digits", "3")).state is Lifecycle.DELETED
    await etcd.delete(keys.deployment("digits", "1"))
    await catalogue.models.update("digits", {"keep_last": 2})
    assert await listed(catalogue) == ["2", "rc"]


async def test_what_is_deleted_does_not_count_among_the_last(catalogue: Catalogue) -> None:
    await catalogue.versions.delete("digits", "3")
    await catalogue.models.update("digits", {"keep_last": 2})
    assert await listed(catalogue) == ["1", "2"]


async def test_of_thousands_only_the_last_are_kept(catalogue: Catalogue, etcd: Etcd) -> None:
    for number in range(4, 120):
        await etcd.put(keys.version("digits", str(number)), codec.encode(draft(str(number))))
    await catalogue.models.update("digits", {"keep_last": 2})
    assert await listed(catalogue) == ["118", "119"]


async def test_numbers_go_on_after_any_number(catalogue: Catalogue) -> None:
    for name in ("999999999", "", "", "99999999999999999999", ""):
        last = await catalogue.publications.publish(draft(name))
    assert last.version == "1000000002"


async def test_who_is_published_later_has_the_later_time(catalogue: Catalogue) -> None:
    times = [(await catalogue.publications.publish(draft(create_time_s=t))).create_time_s for t in (9.0, 5.0, 7.0, 9.5)]
    assert times == sorted(times)
    assert len(set(times)) == 4
    assert (times[0], times[-1]) == (9.0, 9.5)


async def test_etags_change_with_every_change(catalogue: Catalogue) -> None:
    first = await catalogue.models.get("digits")
    second = await catalogue.models.update("digits", {"description": "new"}, first.etag)
    assert second.etag != first.etag
    assert (await catalogue.models.get("digits")).etag == second.etag
    for attempt in (
        catalogue.models.update("digits", {"description": "late"}, first.etag),
        catalogue.models.delete("digits", first.etag),
    ):
        with pytest.raises(AbortedError, match=f"expected etag {first.etag}, it is {second.etag}"):
            await attempt
    assert await catalogue.models.get("digits") == second
    version = await catalogue.versions.get("digits", "1")
    changed = await catalogue.versions.update("digits", "1", {"metrics": {"accuracy": 0.9}}, version.etag)
    for late in (
        catalogue.versions.update("digits", "1", {"metrics": {}}, version.etag),
        catalogue.versions.delete("digits", "1", version.etag),
    ):
        with pytest.raises(AbortedError):
            await late
    assert await catalogue.versions.get("digits", "1") == changed
    await catalogue.versions.delete("digits", "1", changed.etag)


async def test_of_many_updates_with_one_etag_one_wins(catalogue: Catalogue) -> None:
    etag = (await catalogue.models.get("digits")).etag
    tries = [catalogue.models.update("digits", {"description": str(n)}, etag) for n in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(type(r).__name__ for r in results) == ["AbortedError"] * 19 + ["Model"]


async def test_publishing_changes_no_etag_of_the_model(catalogue: Catalogue) -> None:
    etag = (await catalogue.models.get("digits")).etag
    await catalogue.publications.publish(draft())
    await catalogue.aliases.set("digits", Alias("prod", "1"))
    assert (await catalogue.models.get("digits")).etag == etag


async def test_masks_say_what_changes(digits: Remote) -> None:
    await digits("UpdateModel", model={"name": "digits", "description": "d", "labels": {"a": "1"}, "licence": "MIT"})
    said = {"name": "digits", "description": "", "labels": {"b": "2"}}
    found = await digits("UpdateModel", model=said, update_mask={"paths": ["description", "labels"]})
    assert (found.description, dict(found.labels), found.licence) == ("", {"b": "2"}, "MIT")
    found = await digits("UpdateModel", model={"name": "digits", "keep_last": 7}, update_mask={"paths": ["*"]})
    assert (found.description, dict(found.labels), found.licence, found.keep_last) == ("", {}, "", 7)
    said = {"model": "digits", "version": "1", "metrics": {"accuracy": 0.5}, "description": "good"}
    version = await digits("UpdateVersion", version=said)
    assert (dict(version.metrics), version.description) == ({"accuracy": 0.5}, "good")
    assert version == await digits("GetVersion", model="digits", version="1")
    assert version.update_time.ToNanoseconds() > version.create_time.ToNanoseconds()


@pytest.mark.parametrize(
    ("method", "fields", "expected"),
    [
        ("UpdateModel", {"model": {"name": "digits"}}, "expected at least one of description"),
        (
            "UpdateModel",
            {"model": {"name": "digits", "tenant": "me"}, "update_mask": {"paths": ["tenant", "description"]}},
            "expected of description, keep_last, labels, licence, got 'tenant'",
        ),
        ("UpdateModel", {"model": {"name": "digits", "keep_last": -1}}, "keep_last: expected 0 or more, got -1"),
        ("UpdateModel", {"model": {"name": "digits", "labels": {"a b": "1"}}}, "label name 'a b'"),
        ("UpdateModel", {"model": {"name": "digits", "labels": {"a": "x" * 257}}}, "at most 256 bytes, got 257"),
        (
            "UpdateModel",
            {"model": {"name": "digits", "labels": {f"l{n}": "" for n in range(101)}}},
            "at most 100, got 101",
        ),
        (
            "UpdateModel",
            {"model": {"name": "digits"}, "update_mask": {"paths": ["*", "tenant"]}},
            "got 'tenant'",
        ),
        (
            "UpdateVersion",
            {"version": {"model": "digits", "version": "1"}, "update_mask": {"paths": ["signature"]}},
            "expected of description, labels, metrics, got 'signature'",
        ),
        (
            "UpdateVersion",
            {"version": {"model": "digits", "version": "1", "metrics": {"loss": float("nan")}}},
            "metric 'loss': expected a finite number, got nan",
        ),
    ],
)
async def test_bad_updates_change_nothing(digits: Remote, method: str, fields: dict[str, Any], expected: str) -> None:
    before = (await digits("GetModel", name="digits"), await digits("GetVersion", model="digits", version="1"))
    assert expected in await refused(InvalidInputError, digits(method, **fields))
    assert before == (await digits("GetModel", name="digits"), await digits("GetVersion", model="digits", version="1"))


async def test_a_version_is_not_changed_by_its_alias(digits: Remote) -> None:
    await digits("SetAlias", model="digits", alias="prod", version="1")
    said = {"model": "digits", "version": "prod", "description": "new"}
    assert "the alias 'prod'" in await refused(InvalidInputError, digits("UpdateVersion", version=said))


async def test_a_request_creates_once(digits: Remote, onnx_bytes: bytes, etcd: Etcd) -> None:
    files = {"m.onnx": onnx_bytes}
    first = await digits.push("digits", files, request_id="r1")
    assert await digits.push("digits", files, request_id="r1") == first
    assert (await digits.push("digits", files, request_id="r2")).version == "5"
    await digits("DeleteVersion", model="digits", version="4", purge=True)
    assert "has been purged since" in await refused(PreconditionError, digits.push("digits", files, request_id="r1"))
    await refused(InvalidInputError, digits.push("digits", files, request_id="a/b"))


async def test_a_new_model_is_registered_with_its_first_version(
    registry: Remote, as_tenant: Callable[[str], Remote], onnx_bytes: bytes
) -> None:
    new = {"description": "d", "labels": {"a": "1"}, "licence": "MIT"}
    bad: dict[str, Any] = {"model": "letters", "files": {"m.onnx": b"none"}, "new_model": new}
    await refused(InvalidInputError, registry.push(**bad))
    await refused(NotFoundError, registry("GetModel", name="letters"))
    await as_tenant("acme").push("letters", {"m.onnx": onnx_bytes}, new_model=new)
    made = await registry("GetModel", name="letters")
    assert (made.description, dict(made.labels), made.licence, made.tenant) == ("d", {"a": "1"}, "MIT", "acme")
    assert made.latest_version == "1"
    assert made.create_time.ToNanoseconds() > 0
    await registry.push("letters", {"m.onnx": onnx_bytes}, new_model={"description": "other"})
    assert (await registry("GetModel", name="letters")).description == "d"
    await registry("DeleteModel", name="letters")
    await refused(PreconditionError, registry.push("letters", {"m.onnx": onnx_bytes}, new_model=new))


async def test_of_many_first_versions_all_are_published(etcd: Etcd) -> None:
    replicas = [Catalogue(etcd, GRACE_S) for _ in range(2)]
    new = Model("", "d", tenant="acme")
    published = await asyncio.gather(*(replicas[n % 2].publications.publish(draft(), "", new) for n in range(20)))
    assert sorted(int(v.version) for v in published) == list(range(1, 21))
    assert (await replicas[0].models.get("digits")).tenant == "acme"


async def test_of_one_request_made_many_times_at_once_one_creates(catalogue: Catalogue) -> None:
    published = await asyncio.gather(*(catalogue.publications.publish(draft(), "r1") for _ in range(20)))
    assert {v.version for v in published} == {"4"}


async def test_lineage_and_metrics(digits: Remote, onnx_bytes: bytes) -> None:
    await digits("SetAlias", model="digits", alias="prod", version="2")
    said = {"parent_version": "prod", "job": "train-1", "dataset": "mnist@3"}
    made = await digits.push("digits", {"m.onnx": onnx_bytes}, lineage=said, metrics={"accuracy": 0.97})
    assert (made.lineage.parent_version, made.lineage.job, made.lineage.dataset) == (
        "digits@2",
        "train-1",
        "mnist@3",
    )
    assert dict(made.metrics) == {"accuracy": 0.97}
    assert made == await digits("GetVersion", model="digits")
    await digits("RegisterModel", name="letters")
    tuned = await digits.push("letters", {"m.onnx": onnx_bytes}, lineage={"parent_version": "digits@4"})
    assert tuned.lineage.parent_version == "digits@4"
    for parent in ("a b", "@1", "digits@"):
        bad_parent = digits.push("digits", {"m.onnx": onnx_bytes}, lineage={"parent_version": parent})
        assert "name" in await refused(InvalidInputError, bad_parent)
    for parent in ("9", "nobody@1"):
        await refused(NotFoundError, digits.push("digits", {"m.onnx": onnx_bytes}, lineage={"parent_version": parent}))
    bad = digits.push("digits", {"m.onnx": onnx_bytes}, metrics={"a b": 1.0})
    assert "metric name" in await refused(InvalidInputError, bad)


def spec(datatype: str, *shape: int, name: str = "x") -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


async def test_a_declared_signature_is_checked(digits: Remote, onnx_bytes: bytes) -> None:
    files = {"m.onnx": onnx_bytes}
    await digits.push("digits", files, declared={"inputs": [spec("FP32", 8, 4)]})
    wrong = {"inputs": [spec("INT64", -1, 4)], "outputs": [spec("FP32", -1, 2, name="scores")]}
    message = await refused(PreconditionError, digits.push("digits", files, declared=wrong))
    assert "input 'x': expected INT64 [-1, 4], got FP32 [-1, 4]" in message
    assert "output 'scores': expected FP32 [-1, 2], got none of that name" in message
    assert len((await digits("ListVersions", model="digits")).versions) == 4


async def test_versions_are_compared(digits: Remote, catalogue: Catalogue, onnx_bytes: bytes) -> None:
    await digits("RegisterModel", name="letters")
    first = await digits.push("letters", {"a/m.onnx": onnx_bytes, "labels.txt": b"a\n" * 20})
    await digits.push("letters", {"b/m.onnx": onnx_bytes, "labels.txt": b"b\n"})
    await digits("SetAlias", model="letters", alias="prod", version="1")
    same = await digits("CompareVersions", base="letters@prod", other="letters@1")
    assert (same.compatibility, list(same.differences), list(same.files)) == (pb.SAME, [], [])
    assert same.base == same.other == first
    other = await digits("CompareVersions", base="letters@1", other="letters")
    size = len(onnx_bytes)
    assert [(f.path, f.base_size_bytes, f.other_size_bytes, f.shared_bytes) for f in other.files] == [
        ("a/m.onnx", size, -1, 0),
        ("b/m.onnx", -1, size, size),
        ("labels.txt", 40, 2, 0),
    ]
    takes_more = Signature((TensorSpec("x", "FP32", (-1, 4)), TensorSpec("z", "FP32", (1,))), first_outputs(first))
    await catalogue.publications.publish(
        dataclasses.replace(draft(), model="letters", signature=takes_more, manifest_digest=first.manifest_digest)
    )
    breaking = await digits("CompareVersions", base="letters@1", other="letters@3")
    assert breaking.compatibility == pb.BREAKING
    assert list(breaking.differences) == ["input 'z': expected none of that name, got FP32 [1] (breaking)"]
    await refused(NotFoundError, digits("CompareVersions", base="letters", other="letters@9"))
    await refused(InvalidInputError, digits("CompareVersions", base="letters", other=""))


def first_outputs(version: pb.Version) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(t.name, t.datatype, tuple(t.shape)) for t in version.signature.outputs)


async def test_the_same_content_with_other_needs_is_refused(digits: Remote, onnx_bytes: bytes) -> None:
    files = {"m.onnx": onnx_bytes}
    first = await digits.push("digits", files, "rc", resources={"cpu": 1.0}, labels={"a": "1"})
    assert await digits.push("digits", files, "rc", resources={"cpu": 1.0}, labels={"b": "2"}) == first
    message = await refused(AlreadyExistsError, digits.push("digits", files, "rc", resources={"cpu": 2.0}))
    assert "cpu=1.0" in message
    assert "cpu=2.0" in message


async def test_a_version_may_not_be_named_like_what_is_deleted(catalogue: Catalogue) -> None:
    await catalogue.aliases.set("digits", Alias("prod", "1"))
    with pytest.raises(AlreadyExistsError, match="alias"):
        await catalogue.publications.publish(draft("prod", lineage=Lineage()))
