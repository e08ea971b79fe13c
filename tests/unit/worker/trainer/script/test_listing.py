"""Which files all workers of a script are to have."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from modelyard_worker.trainer.script.listing import (
    Known,
    Listing,
    Record,
    listing,
    merged,
    read,
    write,
)

HOUR_NS = 3600 * 10**9


def known(**digests: str) -> dict[str, Known]:
    return {path: Known(1, 2, digest) for path, digest in digests.items()}


def had(number: int, rank: int, before: dict[str, Known], **now: str) -> Listing:
    return Listing(Record(number, rank, before), known(**now))


def test_at_first_all_have_the_same() -> None:
    first = had(0, 0, {}, code="c")
    assert merged([first, first]) == {"code": "c"}


def test_what_each_has_changed_or_removed_counts() -> None:
    before = known(code="c", snapshot="1", log="l", old="o")
    zero = had(3, 0, before, code="c", snapshot="2", log="l", new="n")
    one = had(3, 1, before, code="c", snapshot="1", log="m", old="o")
    assert merged([one, zero]) == {"code": "c", "snapshot": "2", "log": "m", "new": "n"}


def test_of_two_changes_that_of_the_lowest_rank_counts() -> None:
    before = known(snapshot="1")
    zero, one = had(3, 0, before, snapshot="2"), had(3, 1, before, snapshot="3")
    assert merged([one, zero]) == merged([zero, one]) == {"snapshot": "2"}


def test_what_one_has_changed_another_has_not_removed() -> None:
    before = known(snapshot="1")
    assert merged([had(3, 0, before), had(3, 1, before, snapshot="2")]) == {"snapshot": "2"}


def test_who_was_away_has_no_say() -> None:
    before = known(snapshot="1")
    away = had(2, 0, known(), snapshot="0", other="x")
    assert merged([away, had(3, 1, before, snapshot="1")]) == {"snapshot": "1"}


def test_what_is_there_is_listed(tmp_path: Path) -> None:
    for name in ("a.py", "made/b.pt", "__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a.py")
    found = listing(tmp_path, Record())
    assert found.files.keys() == {"a.py", "made/b.pt"} == found.changed.keys()
    assert found.files["a.py"].size_bytes == 4
    assert len({one.digest for one in found.files.values()}) == 2


def test_what_is_as_recorded_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("1")
    stat = path.stat()
    recorded = Record(1, 0, {"a": Known(stat.st_mtime_ns, 1, "as it was"), "b": Known(0, 0, "")})
    found = listing(tmp_path, recorded)
    assert (found.files["a"].digest, found.changed, found.removed) == ("as it was", {}, {"b"})
    os.utime(path, ns=(0, stat.st_mtime_ns + 1))
    assert listing(tmp_path, recorded).changed.keys() == {"a"}


def test_what_has_just_changed_counts_as_it_was(tmp_path: Path) -> None:
    before = Record(1, 0, {"old": Known(1, 1, "as it was")})
    for name in ("old", "new", "quiet"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(0, time.time_ns() + HOUR_NS))  # so that it is so however slow this test is
    os.utime(tmp_path / "quiet", ns=(0, time.time_ns() - HOUR_NS))
    found = listing(tmp_path, before, 1.0)
    assert ({*found.files}, {*found.changed}, len(found.removed)) == ({"old", "quiet"}, {"quiet"}, 0)
    assert found.files["old"].digest == "as it was"
    assert listing(tmp_path, before).changed.keys() == {"old", "new", "quiet"}


def test_what_one_has_as_a_directory_is_no_file() -> None:
    zero, one = had(3, 0, {}, made="1", train="c"), Listing(Record(3, 1), {"made/b.pt": Known(1, 2, "2")})
    assert merged([zero, one]) == {"made/b.pt": "2", "train": "c"}


def test_names_that_others_may_not_have_are_passed_over(tmp_path: Path) -> None:
    for name in (b"no\xfftext", b"back\\slash", "Kopie (1) \u00e4.pt".encode()):
        (tmp_path / os.fsdecode(name)).touch()
    assert [*listing(tmp_path, Record()).files] == ["Kopie (1) \u00e4.pt"]


def test_what_cannot_be_read_counts_as_it_was(tmp_path: Path) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    before = Record(1, 0, {"a": Known(1, 1, "as it was")})
    assert listing(tmp_path, before, read_file=refuse).files == before.files


def test_whether_something_has_changed_is_seen_without_reading(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    record = Record(1, 0, listing(tmp_path, Record()).files)
    (tmp_path / "b").write_text("22")
    found = listing(tmp_path, record, read_file=lambda path: f"{path.name} is not read")
    assert found.changed == {"b": "b is not read"}


def test_a_record_is_kept(tmp_path: Path) -> None:
    path, record = tmp_path / "record", Record(3, 1, known(a="1"))
    assert read(path) == Record()
    write(path, record)
    assert read(path) == record
    path.write_text("{")
    assert read(path) == replace(record, number=0, rank=0, files={})
