"""How two versions differ: for their callers, and in their files."""

from __future__ import annotations

from modelyard.catalogue import File, Manifest, Version
from modelyard.compatibility import Comparison, FileDifference, compare
from modelyard.names import parse_reference
from modelyard_registry.artifacts.manifests import load_manifest
from modelyard_registry.artifacts.store import ChunkStore
from modelyard_registry.catalogue.versions import Versions


class Comparisons:
    """Compares versions, of one model or of two."""

    def __init__(self, versions: Versions, store: ChunkStore) -> None:
        self._versions = versions
        self._store = store

    async def compare(self, base: str, other: str) -> Comparison:
        """Compare two versions, each given as `model@version_or_alias`, or `model` for its newest.

        Raises:
            NotFoundError: no such model or version.
            DataLossError: a manifest is damaged.
        """
        old, new = await self._find(base), await self._find(other)
        compatibility, differences = compare(old.signature, new.signature)
        files: tuple[FileDifference, ...] = ()
        if old.manifest_digest != new.manifest_digest:
            manifests = [await load_manifest(self._store, v.manifest_digest) for v in (old, new)]
            files = compare_files(*manifests)
        return Comparison(old, new, compatibility, tuple(differences), files)

    async def _find(self, reference: str) -> Version:
        named = parse_reference(reference)
        return await self._versions.get(named.model, named.version)


def compare_files(base: Manifest, other: Manifest) -> tuple[FileDifference, ...]:
    """Return the files, by path, that are not in both with the same bytes."""
    old, new = ({file.path: file for file in manifest.files} for manifest in (base, other))
    present, sizes = base.chunk_sizes(), other.chunk_sizes()

    def difference(path: str) -> FileDifference:
        was, now = old.get(path), new.get(path)
        shared_bytes = sum(sizes[chunk] for chunk in now.chunks if chunk in present) if now else 0
        return FileDifference(path, _size(was), _size(now), shared_bytes)

    return tuple(difference(path) for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path))


def _size(file: File | None) -> int:
    return file.size_bytes if file else -1
