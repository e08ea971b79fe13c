"""Aliases: moved atomically, with a history, and moved back."""

from __future__ import annotations

import dataclasses
import time

from modelyard import codec, keys
from modelyard.catalogue import Alias, AliasChange, Version
from modelyard.compatibility import Compatibility, compare
from modelyard.errors import AbortedError, AlreadyExistsError, InvalidInputError, NotFoundError, PreconditionError
from modelyard.etcd import Compare, Delete, Etcd, Put
from modelyard.names import check_name
from modelyard_registry.catalogue.records import Records, Stored, Tries, check_active_version, put

KEPT_CHANGES = 1000
"""So many changes of an alias are remembered."""
SHOWN = 5


class Aliases:
    """Aliases. Several replicas may move the same ones at once."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        self._records = Records(etcd)

    async def set(self, model: str, alias: Alias, etag: str = "", *, force: bool = False) -> Alias:
        """Point an alias at a version, by that one's name or alias, or the newest; its tenant is who moves it.

        With a canary, given in the same ways, that version gets a share of the calls; without one none does any more.

        Raises:
            InvalidInputError: the canary's share is not above 0 and below 100, or it is the version itself.
            NotFoundError: no such model or version.
            AlreadyExistsError: a version has that name.
            AbortedError: an etag is given, and it is not the alias's any more; "0" is that of an alias yet to be.
            PreconditionError: a version breaks callers of the alias, and that is not forced; or it is deleted.
        """
        check_name("alias", alias.name)
        _check_share(alias)
        tries = Tries(f"{model}@{alias.name}")
        while True:
            await tries.next()
            compares = [(await self._records.active_model(model)).unchanged()]
            target = await self._records.active_version(model, alias.version)
            held = await self._records.alias(model, alias.name)
            _check_etag(model, alias.name, held, etag)
            moved = dataclasses.replace(alias, version=target.value.version, update_time_s=time.time())
            compares += [target.unchanged(), await self._free(model, alias.name)]
            pointed_at = [target.value]
            if alias.canary_version:
                canary = await self._canary(model, alias, target.value)
                moved = dataclasses.replace(moved, canary_version=canary.value.version)
                compares.append(canary.unchanged())
                pointed_at.append(canary.value)
            if held and _points(held.value) == _points(moved):
                return held.value
            for version in pointed_at if not force else ():
                await self._check_compatible(held.value if held else moved, version)
            if done := await self._moved(model, held, moved, compares):
                return done

    async def _canary(self, model: str, alias: Alias, target: Version) -> Stored[Version]:
        canary = await self._records.active_version(model, alias.canary_version)
        if canary.value.version == target.version:
            said = f"expected another version than that of the alias, got {target.version!r}"
            raise InvalidInputError(f"{model}@{alias.name}: canary_version: {said}")
        return canary

    async def _free(self, model: str, name: str) -> Compare:
        """The condition that no version has a name; raise AlreadyExistsError if one has."""
        if await self._etcd.get(keys.version(model, name)):
            raise AlreadyExistsError(f"{model}@{name}: expected an alias, but a version has that name")
        return Compare(keys.version(model, name), 0)

    async def _check_compatible(self, held: Alias, target: Version) -> None:
        model = target.model
        current = await self._records.version_named(model, held.version)
        if current is None:
            return  # it names nothing: nobody can be calling it
        verdict, differences = compare(current.value.signature, target.signature)
        if verdict is Compatibility.BREAKING:
            more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
            raise PreconditionError(
                f"{model}@{held.name}: version {target.version} breaks callers of {held.version}: "
                f"{'; '.join(differences[:SHOWN])}{more}; force it if that is meant"
            )

    async def _moved(
        self, model: str, held: Stored[Alias] | None, alias: Alias, compares: list[Compare]
    ) -> Alias | None:
        """Move an alias and write that down; None if others were faster."""
        last = await self._last_change(model, alias.name)
        previous = (last.number if last.to_version else last.previous) if last else 0
        return await self._written(model, held, alias, _following(last, alias, previous), compares)

    async def _written(
        self, model: str, held: Stored[Alias] | None, alias: Alias, change: AliasChange, compares: list[Compare]
    ) -> Alias | None:
        key = keys.alias(model, alias.name)
        unchanged = Compare(key, held.mod_revision if held else 0, "mod")
        operation = put(key, alias) if change.to_version else Delete(key)
        revision = await self._etcd.commit(
            [unchanged, *compares, *_next(model, change)], [operation, *_log(model, change)]
        )
        return dataclasses.replace(alias, etag=str(revision)) if revision else None

    async def delete(self, model: str, name: str, tenant: str) -> None:
        """Delete an alias; its version stays, and a roll-back brings it back.

        Raises:
            NotFoundError: no such model or alias.
            PreconditionError: the model is deleted.
        """
        tries = Tries(f"{model}@{name}")
        while True:
            await tries.next()
            owner = await self._records.active_model(model)
            held = await self._records.alias(model, name)
            if held is None:
                raise NotFoundError(f"model {model!r}: no alias {name!r}")
            gone = Alias(name, "", tenant, time.time())
            if await self._moved(model, held, gone, [owner.unchanged()]):
                return

    async def history(self, model: str, alias: str, after: int, limit: int) -> list[tuple[int, AliasChange]]:
        """Return changes of an alias, or of all aliases of a model where it is empty, the newest first.

        Args:
            model: its name.
            alias: its name, or empty.
            after: the revision of the last one seen, 0 at first.
            limit: how many at most.

        Returns:
            each change with its revision.

        Raises:
            NotFoundError: no such model, or there never was that alias.
        """
        await self._records.model(model)
        listing = await self._etcd.list(keys.history(model, check_name("alias", alias) if alias else ""))
        if alias and not listing.items:
            raise NotFoundError(f"model {model!r}: no alias {alias!r}")
        newest_first = sorted(listing.items.values(), key=lambda kv: kv.create_revision, reverse=True)
        older = [kv for kv in newest_first if not after or kv.create_revision < after]
        return [(kv.create_revision, codec.decode(AliasChange, kv.value)) for kv in older[:limit]]

    async def roll_back(self, model: str, name: str, tenant: str, etag: str = "") -> Alias:
        """Point an alias at what it pointed at before its last move; again, at what came before that.

        To give a version a share of the calls is a move, too. No roll-back does that: it leads to one version alone.
        What has been purged is passed over.

        Raises:
            NotFoundError: no such model, or there never was that alias.
            AbortedError: an etag is given, and it is not the alias's any more.
            PreconditionError: there is nothing to go back to, or that is deleted; or the model is deleted.
        """
        check_name("alias", name)
        tries = Tries(f"{model}@{name}")
        while True:
            await tries.next()
            compares = [(await self._records.active_model(model)).unchanged()]
            held = await self._records.alias(model, name)
            _check_etag(model, name, held, etag)
            last = await self._last_change(model, name)
            if last is None:
                raise NotFoundError(f"model {model!r}: no alias {name!r}")
            back, target = await self._before(model, last)
            compares += [check_active_version(target).unchanged(), await self._free(model, name)]
            alias = Alias(name, back.to_version, tenant, time.time())
            change = _following(last, alias, back.previous, rollback=True)
            if done := await self._written(model, held, alias, change, compares):
                return done

    async def _before(self, model: str, last: AliasChange) -> tuple[AliasChange, Stored[Version]]:
        """The last change to another version, or to this one alone, which has not been purged since; and that one."""
        back = last
        while True:
            back = await self._change(model, last.alias, back.previous)
            target = await self._records.version_named(model, back.to_version)
            if target and (back.to_version, "") != (last.to_version, last.canary_version):
                return back, target

    async def _change(self, model: str, alias: str, number: int) -> AliasChange:
        found = await self._etcd.get(keys.alias_change(model, alias, number)) if number else None
        if found is None:
            raise PreconditionError(f"{model}@{alias}: it pointed at nothing before that is still there")
        return codec.decode(AliasChange, found.value)

    async def _last_change(self, model: str, alias: str) -> AliasChange | None:
        newest = await self._etcd.newest(keys.history(model, alias), 1)
        return codec.decode(AliasChange, newest[0].value) if newest else None


def _check_share(alias: Alias) -> None:
    """Raise InvalidInputError unless a canary has a share, and a share has a canary."""
    where, percent = f"alias {alias.name!r}: canary_percent", alias.canary_percent
    if alias.canary_version and not 0 < percent < 100:
        raise InvalidInputError(f"{where}: expected above 0 and below 100, got {percent:g}")
    if not alias.canary_version and percent:
        raise InvalidInputError(f"{where}: expected 0 without a canary_version, got {percent:g}")


def _points(alias: Alias) -> tuple[str, str, float]:
    return alias.version, alias.canary_version, alias.canary_percent


def _check_etag(model: str, name: str, held: Stored[Alias] | None, etag: str) -> None:
    if held:
        held.check_etag(etag)
    elif etag not in {"", "0"}:
        raise AbortedError(f"model {model!r}: expected the alias {name!r} with etag {etag}, there is none by now")


def _following(last: AliasChange | None, alias: Alias, previous: int, *, rollback: bool = False) -> AliasChange:
    """The change that makes an alias what it is to be, without a version if it is deleted."""
    return AliasChange(
        alias=alias.name,
        number=last.number + 1 if last else 1,
        from_version=last.to_version if last else "",
        to_version=alias.version,
        tenant=alias.tenant,
        time_s=alias.update_time_s,
        rollback=rollback,
        previous=previous,
        canary_version=alias.canary_version,
        canary_percent=alias.canary_percent,
    )


def _next(model: str, change: AliasChange) -> list[Compare]:
    """The condition that this is the next change."""
    return [Compare(keys.alias_change(model, change.alias, change.number), 0)]


def _log(model: str, change: AliasChange) -> list[Put | Delete]:
    written: list[Put | Delete] = [put(keys.alias_change(model, change.alias, change.number), change)]
    if change.number > KEPT_CHANGES:
        written.append(Delete(keys.alias_change(model, change.alias, change.number - KEPT_CHANGES)))
    return written
