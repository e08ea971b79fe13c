"""A catalogue in dictionaries, over real gRPC: enough of one to see what clients send and how they take answers."""

# ruff: noqa: N802 (methods bear the names of the protocol)

from __future__ import annotations

from collections import Counter
from typing import Any

from modelyard.errors import AbortedError, ModelyardError, NotFoundError, PreconditionError
from modelyard.rpc.status import TENANT_KEY
from modelyard.v1 import registry_pb2 as pb

EXPIRE_S = 1_800_000_000
"""When what is deleted here may be purged: 2027-01-15 08:00:00."""
FIRST_TIME_S = 1_700_000_000


class Fake:
    """Counts calls, notes tenants, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.tenants: set[str] = set()
        self.failures: dict[str, list[ModelyardError]] = {}

    def called(self, method: str, context: Any) -> None:
        self.calls[method] += 1
        self.tenants |= {str(value) for key, value in context.invocation_metadata() if key == TENANT_KEY}
        if self.failures.get(method):
            raise self.failures[method].pop(0)


class FakeCatalogue(Fake):
    """Models, versions and aliases."""

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, pb.Model] = {}
        self.versions: dict[tuple[str, str], pb.Version] = {}
        self.changes: list[tuple[str, pb.AliasChange]] = []
        self.requests: list[Any] = []
        """Those that change something, as they came."""

    def clear(self) -> None:
        """Forget everything."""
        for kept in (self.models, self.versions, self.changes, self.requests, self.failures, self.calls, self.tenants):
            kept.clear()

    def _model(self, name: str) -> pb.Model:
        if name not in self.models:
            raise NotFoundError(f"model {name!r}: not registered")
        return self.models[name]

    def _version(self, model: str, reference: str) -> pb.Version:
        found = self._model(model)
        aliases = {alias.name: alias.version for alias in found.aliases}
        name = aliases.get(reference, reference) or found.latest_version
        if (model, name) not in self.versions:
            raise NotFoundError(f"model {model!r}: no version or alias {name!r}")
        return self.versions[model, name]

    def _changing(self, request: Any, record: Any, etag: str = "") -> None:
        """Note a change of a record, which gets another etag; refuse it where the one named is not the record's."""
        if etag and etag != record.etag:
            raise AbortedError(f"etag: expected {record.etag}, got {etag}")
        self.requests.append(request)
        record.etag = str(int(record.etag or 0) + 1)

    async def RegisterModel(self, request: Any, context: Any) -> Any:
        self.called("RegisterModel", context)
        model = pb.Model(name=request.name, description=request.description, labels=request.labels, state=pb.ACTIVE)
        self._changing(request, model)
        self.models[request.name] = model
        return model

    async def GetModel(self, request: Any, context: Any) -> Any:
        self.called("GetModel", context)
        return self._model(request.name)

    async def ListModels(self, request: Any, context: Any) -> Any:
        self.called("ListModels", context)
        shown = [m.name for m in self.models.values() if request.show_deleted or m.state == pb.ACTIVE]
        names = sorted(n for n in shown if n.startswith(request.name_prefix) and n > request.page_token)
        page = names[: min(request.page_size, 2)]
        token = page[-1] if len(page) < len(names) else ""
        return pb.ListModelsResponse(models=[self.models[n] for n in page], next_page_token=token)

    async def UpdateModel(self, request: Any, context: Any) -> Any:
        self.called("UpdateModel", context)
        model = self._model(request.model.name)
        self._changing(request, model, request.model.etag)
        _merge(request.model, model, request.update_mask)
        return model

    async def DeleteModel(self, request: Any, context: Any) -> Any:
        self.called("DeleteModel", context)
        model = self._model(request.name)
        self._changing(request, model, request.etag)
        _delete(model)
        return self.models.pop(request.name) if request.purge else model

    async def UndeleteModel(self, request: Any, context: Any) -> Any:
        self.called("UndeleteModel", context)
        return _undelete(self._model(request.name))

    async def GetVersion(self, request: Any, context: Any) -> Any:
        self.called("GetVersion", context)
        return self._version(request.model, request.version)

    async def ListVersions(self, request: Any, context: Any) -> Any:
        self.called("ListVersions", context)
        self._model(request.model)
        found = [v for (model, _), v in self.versions.items() if model == request.model]
        return pb.ListVersionsResponse(versions=[v for v in found if request.show_deleted or v.state == pb.ACTIVE])

    async def UpdateVersion(self, request: Any, context: Any) -> Any:
        self.called("UpdateVersion", context)
        version = self._version(request.version.model, request.version.version)
        self._changing(request, version, request.version.etag)
        _merge(request.version, version, request.update_mask)
        return version

    async def DeleteVersion(self, request: Any, context: Any) -> Any:
        self.called("DeleteVersion", context)
        version = self._version(request.model, request.version)
        self._changing(request, version, request.etag)
        _delete(version)
        return self.versions.pop((request.model, request.version)) if request.purge else version

    async def UndeleteVersion(self, request: Any, context: Any) -> Any:
        self.called("UndeleteVersion", context)
        return _undelete(self._version(request.model, request.version))

    async def CompareVersions(self, request: Any, context: Any) -> Any:
        self.called("CompareVersions", context)
        base, other = (self._version(*f"{name}@".split("@")[:2]) for name in (request.base, request.other))
        answer = pb.CompareVersionsResponse(base=base, other=other, compatibility=pb.SAME)
        if base.manifest_digest != other.manifest_digest:
            answer.compatibility = pb.NARROWED
            answer.differences.append("input 'x': expected FP32 [-1, 2], got FP32 [1, 2] (narrowed)")
            answer.files.add(path="net.onnx", base_size_bytes=base.size_bytes, other_size_bytes=other.size_bytes)
            answer.files.add(path="new.bin", base_size_bytes=-1, other_size_bytes=3 << 20, shared_bytes=1 << 20)
            answer.files.add(path="old.bin", base_size_bytes=10, other_size_bytes=-1)
        return answer

    async def SetAlias(self, request: Any, context: Any) -> Any:
        self.called("SetAlias", context)
        return self._point(request, self._version(request.model, request.version).version, rollback=False)

    async def RollbackAlias(self, request: Any, context: Any) -> Any:
        self.called("RollbackAlias", context)
        moves = [c for model, c in self.changes if (model, c.alias) == (request.model, request.alias)]
        if not moves or not moves[-1].from_version:
            raise PreconditionError(f"{request.model}@{request.alias}: it has never pointed at anything else")
        return self._point(request, moves[-1].from_version, rollback=True)

    def _point(self, request: Any, version: str, *, rollback: bool) -> pb.Alias:
        model = self._model(request.model)
        alias = next((a for a in model.aliases if a.name == request.alias), None) or pb.Alias(name=request.alias)
        self._changing(request, alias, request.etag)
        change = pb.AliasChange(
            alias=alias.name,
            from_version=alias.version,
            to_version=version,
            tenant="acme",
            rollback=rollback,
            number=1 + len(self.changes),
            canary_version="" if rollback else request.canary_version,
            canary_percent=0 if rollback else request.canary_percent,
        )
        change.time.FromSeconds(FIRST_TIME_S + len(self.changes))
        self.changes.append((request.model, change))
        alias.version = version
        alias.canary_version, alias.canary_percent = change.canary_version, change.canary_percent
        if alias.name not in {a.name for a in model.aliases}:
            model.aliases.append(alias)
        return alias

    async def DeleteAlias(self, request: Any, context: Any) -> Any:
        self.called("DeleteAlias", context)
        model = self._model(request.model)
        kept = [alias for alias in model.aliases if alias.name != request.alias]
        del model.aliases[:]
        model.aliases.extend(kept)
        return pb.DeleteAliasResponse()

    async def ListAliasHistory(self, request: Any, context: Any) -> Any:
        self.called("ListAliasHistory", context)
        self._model(request.model)
        newest = [c for model, c in reversed(self.changes) if model == request.model]
        found = [c for c in newest if request.alias in {"", c.alias}][int(request.page_token or 0) :]
        token = str(int(request.page_token or 0) + 2) if len(found) > 2 else ""
        return pb.ListAliasHistoryResponse(changes=found[:2], next_page_token=token)


def _merge(changed: Any, record: Any, mask: Any) -> None:
    for name in mask.paths:
        record.ClearField(name)
    mask.MergeMessage(changed, record)


def _delete(record: Any) -> None:
    record.state = pb.DELETED
    record.expire_time.FromSeconds(EXPIRE_S)


def _undelete(record: Any) -> Any:
    record.state = pb.ACTIVE
    record.ClearField("expire_time")
    return record
