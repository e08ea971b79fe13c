"""The registry's answers, and its keys in etcd, written by a test; and what was deployed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from modelyard import codec, keys
from modelyard.catalogue import Model, Resources, Signature, Version
from modelyard.deployment import Deployment
from modelyard.errors import NotFoundError
from modelyard.etcd import Etcd, Put

GIB = 1 << 30


def version(number: str = "1", **facts: object) -> Version:
    made = Version("m", number, "onnx", Signature(), Resources(), "d" * 64, 1000, create_time_s=float(number))
    return replace(made, **facts)  # type: ignore[arg-type]


class Catalogue:
    """The registry's answers, and its keys in etcd."""

    def __init__(self, etcd: Etcd) -> None:
        self.etcd = etcd
        self.model = Model("m")
        self.versions: dict[str, Version] = {}
        self.asked = 0
        self.before_answer: Callable[[], Awaitable[None]] | None = None

    async def publish(self, one: Version) -> None:
        await self.etcd.put(keys.model("m"), codec.encode(self.model))
        etag = await self.etcd.commit([], [Put(keys.version("m", one.version), codec.encode(one))])
        self.versions[one.version] = replace(one, etag=str(etag))

    async def delete(self, number: str) -> None:
        del self.versions[number]
        await self.etcd.delete(keys.version("m", number))

    async def find(self, model: str, reference: str) -> Version:
        self.asked += 1
        number = reference or max(self.versions, default="")
        if model != "m" or number not in self.versions:
            raise NotFoundError(f"model {model!r}: no version {number!r}")
        found = self.versions[number]
        if self.before_answer is not None:
            await self.before_answer()
        return found


async def stored(etcd: Etcd) -> dict[str, Deployment]:
    items = (await etcd.list(keys.DEPLOYMENTS)).items
    return {key.removeprefix(keys.DEPLOYMENTS): codec.decode(Deployment, kv.value) for key, kv in items.items()}
