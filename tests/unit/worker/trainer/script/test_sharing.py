"""The files of a script on several workers: ranks that are threads, over real connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.train.elastic.group import Group
from modelyard_worker.trainer.script import sharing
from modelyard_worker.trainer.script.folder import ScriptFolder
from modelyard_worker.trainer.script.listing import read
from modelyard_worker.trainer.script.places import places
from modelyard_worker.trainer.script.sharing import Sharing, gather
from tests.unit.train.elastic.groups import Ranks

WORKERS = ("w0/a", "w1/b", "w1/c")


class Workers(Ranks):
    """Ranks that let go of their groups in the end."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[Group] = []

    def groups(self, world: int) -> list[Group]:
        made = super().groups(world)
        self._made += made
        return made

    def close(self) -> None:
        for group in self._made:
            group.drop()
        assert all(group.gone(30) for group in self._made)
        super().close()


@pytest.fixture
def ranks() -> Iterator[Workers]:
    made = Workers()
    yield made
    made.close()


@pytest.fixture
def folders(tmp_path: Path) -> list[ScriptFolder]:
    """Of three ranks on two workers, as they are at first."""
    made = [ScriptFolder(tmp_path / worker) for worker in ("w0", "w1", "w1")]
    for folder in made[:2]:
        folder.output.mkdir(parents=True)
        folder.code.mkdir()
        (folder.code / "train.py").write_text("1 / 0")
    return made


def share(ranks: Workers, folders: list[ScriptFolder]) -> list[Group]:
    located = places(WORKERS, ("cpu",) * 3)
    groups = ranks.groups(3)
    ranks.all(groups, lambda group: Sharing(group, folders[group.rank], located).share())
    return groups


def there(folder: ScriptFolder) -> dict[str, str]:
    paths = [path for path in folder.shared.rglob("*") if path.is_file()]
    return {path.relative_to(folder.shared).as_posix(): path.read_text() for path in paths}


def test_what_one_worker_has_written_all_have_then(
    ranks: Workers, folders: list[ScriptFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "PIECE_BYTES", 7)
    number = share(ranks, folders)[0].number
    assert there(folders[0]) == there(folders[1]) == {"code/train.py": "1 / 0"}
    assert (read(folders[0].record).number, read(folders[0].record).rank) == (number, 0)
    assert read(folders[1].record).rank == 1

    (folders[0].code / "made").mkdir()
    (folders[0].code / "made/snapshot.pt").write_text("0" * 50)
    (folders[0].code / "empty").touch()
    (folders[1].output / "rank1.txt").write_text("one")
    (folders[1].code / "train.py").unlink()
    expected = {"code/made/snapshot.pt": "0" * 50, "code/empty": "", "output/rank1.txt": "one"}
    share(ranks, folders)
    assert there(folders[0]) == there(folders[1]) == expected
    assert not list(folders[0].shared.parent.glob("arriving-*"))

    (folders[0].code / "made/snapshot.pt").write_text("1" * 50)
    share(ranks, folders)
    assert there(folders[1]) == {**expected, "code/made/snapshot.pt": "1" * 50}


def test_a_worker_that_comes_later_has_what_the_others_have(ranks: Workers, folders: list[ScriptFolder]) -> None:
    share(ranks, folders)
    (folders[0].code / "snapshot.pt").write_text("0")
    share(ranks, folders)
    folders[0].record.unlink()  # as of a worker that has its code alone
    (folders[0].code / "snapshot.pt").write_text("not the latest")
    share(ranks, folders)
    assert there(folders[0]) == there(folders[1]) == {"code/train.py": "1 / 0", "code/snapshot.pt": "0"}


def test_whether_something_has_changed_is_seen_by_one_rank_of_a_worker(
    ranks: Workers, folders: list[ScriptFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "QUIET_S", 0.0)
    groups, located = share(ranks, folders), places(WORKERS, ("cpu",) * 3)
    looks = [Sharing(group, folders[group.rank], located) for group in groups]
    assert [one.looks_changed() for one in looks] == [False, False, False]
    (folders[1].code / "snapshot.pt").write_text("0")
    assert [one.looks_changed() for one in looks] == [False, True, False]
    (folders[0].code / "train.py").unlink()
    assert looks[0].looks_changed()
    together = places(("w0/a", "w0/b", "w0/c"), ("cpu",) * 3)
    assert not Sharing(groups[0], folders[0], together).looks_changed()


def test_each_rank_hears_what_all_have_said(ranks: Workers) -> None:
    groups = ranks.groups(3)
    said = [b"", b"one", bytes(100)]
    assert ranks.all(groups, lambda group: gather(group, said[group.rank])) == [said] * 3
