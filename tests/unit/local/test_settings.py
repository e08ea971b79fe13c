from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import InvalidInputError, PreconditionError
from modelyard.local.settings import Asked, Settings, remember, settle
from modelyard.local.state import Layout

BUCKET = "s3://models/here"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "suite")
    made.create()
    return made


def up(layout: Layout, store: str = "", allow_unsafe: bool | None = None, **times: Any) -> Settings:
    """A suite starts."""
    settings = settle(layout, Asked(store, allow_unsafe, **times))
    remember(layout, settings)
    return settings


def test_what_was_said_once_holds_until_something_else_is_said(layout: Layout) -> None:
    assert up(layout) == Settings()
    assert up(layout, BUCKET, True) == up(layout) == Settings(BUCKET, allow_unsafe=True)
    assert up(layout, BUCKET, False) == up(layout) == Settings(BUCKET, allow_unsafe=False)
    assert [path.name for path in layout.root.glob("settings*")] == ["settings.json"]


def test_what_did_not_start_is_not_remembered(layout: Layout) -> None:
    settle(layout, Asked("s3://mistyped", True))
    assert up(layout, BUCKET) == Settings(BUCKET)


def test_a_directory_is_remembered_from_wherever_it_was_named(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert up(layout, "chunks").store == up(layout, str(tmp_path / "chunks")).store == str(tmp_path / "chunks")


def test_artifacts_stay_in_their_store(layout: Layout) -> None:
    up(layout, "", True)
    (layout.store / "chunks" / "ab").mkdir(parents=True)
    (layout.store / "chunks" / "ab" / "abcd").write_bytes(b"a chunk")
    assert settle(layout, Asked(str(layout.store))).store == ""
    with pytest.raises(PreconditionError, match=rf"are kept in {layout.store}, got s3://models/here; take another"):
        settle(layout, Asked(BUCKET, False))
    assert up(layout) == Settings(allow_unsafe=True)
    layout.settings.write_text(f'{{"store": "{BUCKET}"}}')
    assert settle(layout, Asked(BUCKET)) == Settings(BUCKET)
    with pytest.raises(PreconditionError, match="are kept in s3://models/here, got "):
        settle(layout, Asked("/elsewhere"))


def test_settings_that_cannot_be_read(layout: Layout) -> None:
    layout.settings.write_text("{")
    with pytest.raises(PreconditionError, match="truncated"):
        settle(layout, Asked())


def test_times_are_remembered_each_by_itself(layout: Layout) -> None:
    assert up(layout, grace_s=5.0) == Settings(grace_s=5.0)
    assert up(layout, collect_every_s=0.0) == up(layout) == Settings(grace_s=5.0, collect_every_s=0.0)
    assert up(layout, grace_s=0.0).grace_s == 0.0


def test_urls_are_remembered_until_none_are_allowed(layout: Layout) -> None:
    remember(layout, settle(layout, Asked(dataset_urls="https://a/,s3://b")))
    assert up(layout) == Settings(dataset_urls="https://a/,s3://b")
    assert settle(layout, Asked(dataset_urls="")) == Settings()


@pytest.mark.parametrize("asked", [Asked(grace_s=-1), Asked(grace_s=float("nan")), Asked(collect_every_s=float("inf"))])
def test_times_are_finite(asked: Asked) -> None:
    with pytest.raises(InvalidInputError, match=r"_s: expected a finite number of seconds of at least 0, got"):
        asked.check()
