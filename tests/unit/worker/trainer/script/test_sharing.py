"""The files of a script on several workers: ranks that are threads, over real connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from modelyard.train.elastic.group import Group
from modelyard_worker.trainer.script import sharing
from modelyard_worker.trainer.script.execution import LeavingError
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


def sharing_of(group: Group, folders: list[ScriptFolder], check: Callable[[], None] = lambda: None) -> Sharing:
    folder = folders[group.rank]
    return Sharing(group, folder, places(WORKERS, ("cpu",) * 3), folder.shared.parent, check)


def share(
    ranks: Workers,
    folders: list[ScriptFolder],
    check: Callable[[int], None] = lambda _: None,
    groups: list[Group] | None = None,
) -> list[Group]:
    """`check`: called by each rank before it sends or takes a piece."""
    groups = groups or ranks.groups(3)
    ranks.all(groups, lambda group: sharing_of(group, folders, partial(check, group.rank)).share())
    return groups


def share_alone(folder: ScriptFolder, group: Group) -> None:
    Sharing(group, folder, places(("w/a",), ("cpu",)), folder.shared.parent).share()


def there(folder: ScriptFolder) -> dict[str, str]:
    paths = [path for path in folder.shared.rglob("*") if path.is_file()]
    return {path.relative_to(folder.shared).as_posix(): path.read_text() for path in paths}


def test_what_one_worker_has_written_all_have_then(
    ranks: Workers, folders: list[ScriptFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "PIECE_BYTES", 7)
    share(ranks, folders)
    assert there(folders[0]) == there(folders[1]) == {"code/train.py": "1 / 0"}
    records = [read(one.record) for one in folders[:2]]
    assert [one.rank for one in records] == [0, 1]
    assert records[0].number == records[1].number > 0

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


def test_what_has_become_another_file_while_it_was_read_is_left_for_the_next_time(
    ranks: Workers, folders: list[ScriptFolder]
) -> None:
    snapshot, removed = folders[0].code / "snapshot.pt", folders[0].code / "until-now"
    snapshot.write_text("1111")
    share(ranks, folders)
    snapshot.write_text("2222")
    removed.write_text("comes after it")

    def change(rank: int) -> None:
        if rank == 0 and removed.exists():
            removed.unlink()
            snapshot.write_text("333")

    share(ranks, folders, change)
    assert there(folders[1])["code/snapshot.pt"] == "1111"
    share(ranks, folders)
    assert there(folders[0]) == there(folders[1]) == {"code/train.py": "1 / 0", "code/snapshot.pt": "333"}


def test_what_is_to_be_removed_and_has_become_another_thing_meanwhile_is_left(
    ranks: Workers, folders: list[ScriptFolder]
) -> None:
    old = folders[0].code / "old"
    old.touch()
    share(ranks, folders)
    (folders[1].code / "old").unlink()
    (folders[1].code / "new").write_text("1")

    def change(rank: int) -> None:
        if rank == 0 and old.is_file():
            old.unlink()
            old.mkdir()

    share(ranks, folders, change)
    assert old.is_dir()
    assert there(folders[0]) == {"code/train.py": "1 / 0", "code/new": "1"}


def test_a_file_for_one_that_is_a_directory_for_another_is_a_directory(
    ranks: Workers, folders: list[ScriptFolder]
) -> None:
    share(ranks, folders)
    (folders[0].code / "made").write_text("a file")
    (folders[1].code / "made/deep").mkdir(parents=True)
    (folders[1].code / "made/deep/snapshot.pt").write_text("1")
    share(ranks, folders)
    assert there(folders[0]) == there(folders[1]) == {"code/train.py": "1 / 0", "code/made/deep/snapshot.pt": "1"}


def test_links_are_nobody_elses(ranks: Workers, folders: list[ScriptFolder], tmp_path: Path) -> None:
    share(ranks, folders)
    outside = tmp_path / "outside"
    (outside / "made").mkdir(parents=True)
    (folders[1].code / "made").symlink_to(outside / "made", target_is_directory=True)
    (folders[1].code / "last").symlink_to(outside, target_is_directory=True)
    (folders[0].code / "made").mkdir()
    (folders[0].code / "made/snapshot.pt").write_text("1")
    (folders[0].code / "last").write_text("2")
    for _ in range(2):
        share(ranks, folders)
        expected = {"code/train.py": "1 / 0", "code/made/snapshot.pt": "1", "code/last": "2"}
        assert there(folders[0]) == there(folders[1]) == expected
    assert [*outside.rglob("*")] == [outside / "made"]


def test_who_was_lost_before_it_took_what_was_agreed_on_brings_nothing_back(
    ranks: Workers, folders: list[ScriptFolder]
) -> None:
    (folders[1].code / "snapshot.pt").write_text("1")
    (folders[1].code / "old.pt").write_text("1")
    groups = share(ranks, folders)
    before = {name: (folders[0].code / name).read_bytes() for name in ("snapshot.pt", "old.pt")}
    record = folders[0].record.read_bytes()
    (folders[1].code / "snapshot.pt").write_text("2")
    (folders[1].code / "old.pt").unlink()
    share(ranks, folders, groups=groups)
    for name, data in before.items():  # as of a rank that was killed
        (folders[0].code / name).write_bytes(data)
    folders[0].record.write_bytes(record)
    share(ranks, folders)
    assert there(folders[0]) == there(folders[1]) == {"code/train.py": "1 / 0", "code/snapshot.pt": "2"}


def test_of_workers_that_knew_nothing_of_each_other_all_of_the_later_counts(
    ranks: Workers, folders: list[ScriptFolder]
) -> None:
    """As after a cut network: one went on alone and was lost, then the other did; then both are there."""
    share(ranks, folders)
    for folder, name in zip(folders[:2], ("w0", "w1"), strict=True):
        alone = ranks.groups(1)
        ranks.all(alone, partial(share_alone, folder))
        (folder.code / "snapshot.pt").write_text(name)
        (folder.code / f"only-{name}").write_text(name)
        ranks.all(alone, partial(share_alone, folder))
    share(ranks, folders)
    expected = {"code/train.py": "1 / 0", "code/snapshot.pt": "w1", "code/only-w1": "w1"}
    assert there(folders[0]) == there(folders[1]) == expected


def test_it_is_broken_off_when_the_group_is_to_be_left(ranks: Workers, folders: list[ScriptFolder]) -> None:
    (folders[0].code / "snapshot.pt").write_text("1")
    groups = ranks.groups(3)

    def leave() -> None:
        raise LeavingError

    def shared(group: Group) -> str:
        try:
            sharing_of(group, folders, leave).share()
        except LeavingError:
            return "left"
        return "shared"

    assert ranks.all(groups, shared) == ["left"] * 3
    assert not (folders[1].code / "snapshot.pt").exists()
    assert not list(folders[1].shared.parent.glob("arriving-*"))


def test_whether_something_has_changed_is_seen_by_one_rank_of_a_worker(
    ranks: Workers, folders: list[ScriptFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "QUIET_S", 0.0)
    groups = share(ranks, folders)
    looks = [sharing_of(group, folders) for group in groups]
    assert [one.looks_changed() for one in looks] == [False, False, False]
    (folders[1].code / "snapshot.pt").write_text("0")
    assert [one.looks_changed() for one in looks] == [False, True, False]
    (folders[0].code / "train.py").unlink()
    assert looks[0].looks_changed()
    together = places(("w0/a", "w0/b", "w0/c"), ("cpu",) * 3)
    assert not Sharing(groups[0], folders[0], together, folders[0].shared.parent).looks_changed()


def test_each_rank_hears_what_all_have_said(ranks: Workers) -> None:
    groups = ranks.groups(3)
    said = [b"", b"one", bytes(100)]
    assert ranks.all(groups, lambda group: gather(group, said[group.rank])) == [said] * 3
