"""A model with all that lies below its key, and the entries of the index that are made of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from modelyard import keys
from modelyard.catalogue import Alias, Lifecycle, Model, Version
from modelyard_registry.search.entry import Entry, natural

Record = Model | Version | Alias
_KINDS: dict[str, type[Version] | type[Alias]] = {"versions": Version, "aliases": Alias}


@dataclass(frozen=True)
class Address:
    """What a key below models/ is of. `kind` says what its value decodes to; `name` is empty for a model."""

    kind: type[Model] | type[Version] | type[Alias]
    model: str
    name: str = ""


def address(key: str) -> Address | None:
    """Return what a key is of; None for a key that is of no model, version or alias, all of which have ASCII names."""
    if not key.startswith(keys.MODELS) or not key.isascii():
        return None
    match key.removeprefix(keys.MODELS).split("/"):
        case [model]:
            return Address(Model, model)
        case [model, ("versions" | "aliases") as kind, name]:
            return Address(_KINDS[kind], model, name)
        case _:
            return None


@dataclass
class Family:
    """A model, None until its record has come, and its versions and aliases by name."""

    model: Model | None = None
    versions: dict[str, Version] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.model or self.versions or self.aliases)

    def put(self, record: Record) -> list[str]:
        """Take a record in; return the versions whose entries this concerns."""
        match record:
            case Model():
                self.model = record
                return list(self.versions)
            case Version():
                self.versions[record.version] = record
                return [record.version]
            case Alias():
                old = self.aliases.get(record.name, record)
                self.aliases[record.name] = record
                return [old.version, record.version]

    def delete(self, place: Address) -> list[str]:
        """Forget a record, if it is there; return the versions whose entries this concerns."""
        if place.kind is Model:
            self.model = None
            return list(self.versions)
        if place.kind is Version:
            self.versions.pop(place.name, None)
            return [place.name]
        alias = self.aliases.pop(place.name, None)
        return [alias.version] if alias else []

    def join(self, version: str) -> Entry | None:
        """Return the entry of a version as it is now; None without the version or the model's record."""
        if self.model is None or version not in self.versions:
            return None
        names = sorted(alias.name for alias in self.aliases.values() if alias.version == version)
        return Entry.join(self.model, self.versions[version], tuple(names))

    def complete(self, model: Model) -> Model:
        """Fill in the aliases, by name, and the newest version that is not deleted."""
        active = [v for v in self.versions.values() if v.state is Lifecycle.ACTIVE]
        newest = max(active, key=lambda v: (v.create_time_s, natural(v.version)), default=None)
        aliases = tuple(self.aliases[name] for name in sorted(self.aliases))
        return dataclasses.replace(model, aliases=aliases, latest_version=newest.version if newest else "")
