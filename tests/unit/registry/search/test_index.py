from __future__ import annotations

import base64
import random
from itertools import pairwise

import msgspec
import pytest

from modelyard import keys
from modelyard.catalogue import Alias, Lifecycle, Model, Resources, Signature, Version
from modelyard.errors import InvalidInputError
from modelyard_registry.search import columns, table
from modelyard_registry.search import index as index_module
from modelyard_registry.search.index import Index
from tests.unit.registry import catalogues
from tests.unit.registry.catalogues import FILTERS, ORDERS, Records

SEED = 20261121


def version(model: str, name: str, create_time_s: float = 0.0, state: Lifecycle = Lifecycle.ACTIVE) -> Version:
    return Version(model, name, "onnx", Signature(), Resources(), "", 0, create_time_s=create_time_s, state=state)


def put(index: Index, *values: Model | Version) -> None:
    for value in values:
        key = keys.model(value.name) if isinstance(value, Model) else keys.version(value.model, value.version)
        index.apply(key, value)


def walk(index: Index, filter_text: str = "", order_by: str = "", page_size: int = 3) -> list[tuple[str, str]]:
    found, token = [], ""
    while True:
        page = index.search(filter_text, order_by, page_size, token)
        assert len(page.results) <= page_size
        assert len(page.results) == page_size or not page.next_page_token
        found += [(v.model, v.version) for _, v in page.results]
        token = page.next_page_token
        if not token:
            return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make small catalogues go the way of large ones."""
    monkeypatch.setattr(index_module, "FEW", 3)
    monkeypatch.setattr(columns, "_ROOM", 2)
    monkeypatch.setattr(table, "_FIRST", 4)
    monkeypatch.setattr(table, "KEPT_COLUMNS", 2)
    monkeypatch.setattr(table, "KEPT_ORDERS", 2)


def check_like_a_scan(rng: random.Random, changes: int, searches: int) -> int:
    index, records, found = Index(), Records(), 0
    for _ in range(changes):
        key, value = catalogues.some_change(rng)
        index.apply(key, value)
        catalogues.change(records, key, value)
        assert len(index) == len(catalogues.entries(records))
        for _ in range(searches):
            text, order_by = rng.choice(FILTERS), rng.choice(ORDERS)
            expected = catalogues.search(records, text, order_by)
            assert walk(index, text, order_by, rng.randrange(1, 9)) == expected, (text, order_by)
            found += len(expected)
    return found


@pytest.mark.parametrize("seed", range(SEED, SEED + 6))
@pytest.mark.usefixtures("small")
def test_finds_what_a_scan_finds_over_all_at_once(seed: int) -> None:
    assert check_like_a_scan(random.Random(seed), changes=400, searches=3) > 2000


@pytest.mark.parametrize("seed", range(SEED, SEED + 3))
def test_finds_what_a_scan_finds_one_by_one(seed: int) -> None:
    assert check_like_a_scan(random.Random(seed), changes=400, searches=3) > 2000


@pytest.mark.parametrize("filter_text", FILTERS)
@pytest.mark.usefixtures("small")
def test_every_filter_in_every_order(filter_text: str) -> None:
    rng = random.Random(SEED)
    index, records = Index(), Records()
    for _ in range(300):
        key, value = catalogues.some_change(rng)
        index.apply(key, value)
        catalogues.change(records, key, value)
    for order_by in ORDERS:
        assert walk(index, filter_text, order_by) == catalogues.search(records, filter_text, order_by), order_by


def catalogue(seed: int) -> Records:
    rng, records = random.Random(seed), Records()
    for _ in range(600):
        catalogues.change(records, *catalogues.some_change(rng))
    return records


def test_every_filter_finds_something_and_not_everything() -> None:
    made = [catalogue(SEED + number) for number in range(8)]
    everything = sum(len(catalogues.search(records, "state:*", "")) for records in made)
    for text in FILTERS:
        found = sum(len(catalogues.search(records, text, "")) for records in made)
        assert 0 < found < everything or text in ("state:*", "format = onnx AND format = torch_export"), text


def test_records_come_in_any_order() -> None:
    changes: list[tuple[str, Model | Version | Alias]] = [
        (keys.alias("m", "prod"), Alias("prod", "2")),
        (keys.version("m", "1"), version("m", "1", 1.0)),
        (keys.version("m", "2"), version("m", "2", 2.0)),
        (keys.model("m"), Model("m", "fast")),
    ]
    for rotation in range(len(changes)):
        index = Index()
        for key, value in changes[rotation:] + changes[:rotation]:
            index.apply(key, value)
        assert walk(index) == [("m", "2"), ("m", "1")]
        assert walk(index, "alias = prod fast") == [("m", "2")]


def test_an_alias_moves_and_goes() -> None:
    index = Index()
    put(index, Model("m"), version("m", "1"), version("m", "2"))
    for target in ("1", "2"):
        index.apply(keys.alias("m", "prod"), Alias("prod", target))
        assert walk(index, "alias = prod") == [("m", target)]
    index.apply(keys.alias("m", "prod"), None)
    assert walk(index, "alias:*") == []


def test_a_deleted_model_is_found_no_more_and_leaves_nothing() -> None:
    index = Index()
    put(index, Model("m", labels={"team": "vision"}), version("m", "1"))
    index.apply(keys.model("m"), None)
    assert walk(index) == walk(index, "labels.team = vision") == []
    index.apply(keys.version("m", "1"), None)
    assert len(index) == 0
    put(index, Model("m"))
    assert walk(index) == []


def test_versions_of_a_deleted_model_are_deleted_with_it() -> None:
    index = Index()
    gone = Model("m", state=Lifecycle.DELETED, expire_time_s=9.0)
    put(index, Model("m"), version("m", "1"), version("m", "2", state=Lifecycle.DELETED))
    assert walk(index) == walk(index, "state = ACTIVE") == [("m", "1")]
    put(index, gone)
    assert walk(index) == walk(index, "name = m") == walk(index, "state = ACTIVE") == []
    assert sorted(walk(index, "state = DELETED")) == sorted(walk(index, "state:*")) == [("m", "1"), ("m", "2")]
    ((model, found),) = index.search("state = deleted version = 1", "", 10, "").results
    assert (model.state, found.state) == (Lifecycle.DELETED, Lifecycle.ACTIVE)
    put(index, Model("m"))
    assert walk(index) == [("m", "1")]


def test_what_is_not_there_can_be_deleted_and_other_keys_are_passed_over() -> None:
    index = Index()
    for key in (keys.model("m"), keys.version("m", "1"), keys.alias("m", "prod")):
        index.apply(key, None)
    put(index, Model("m"), version("m", "1"))
    index.apply(f"{keys.MODELS}m/history/prod/1", Model("other"))
    index.apply(keys.worker("worker-0"), Model("other"))
    assert walk(index) == [("m", "1")]


def test_results_have_models_with_aliases_and_the_newest_version() -> None:
    index = Index()
    put(index, Model("m"), version("m", "1", 1.0), version("m", "2", 2.0), version("m", "3", 3.0, Lifecycle.DELETED))
    for name, target in (("prod", "1"), ("dev", "2")):
        index.apply(keys.alias("m", name), Alias(name, target))
    ((model, found),) = index.search("version = 1", "", 10, "").results
    assert found == version("m", "1", 1.0)
    assert model == Model("m", aliases=(Alias("dev", "2"), Alias("prod", "1")), latest_version="2")


def test_a_changed_model_changes_its_entries() -> None:
    index = Index()
    put(index, Model("m", "slow", {"team": "speech"}), version("m", "1"))
    assert walk(index, "labels.team = speech") == [("m", "1")]
    put(index, Model("m", "fast", {"team": "vision"}))
    assert walk(index, "fast labels.team = vision") == [("m", "1")]
    assert walk(index, "slow OR labels.team = speech") == []


@pytest.mark.parametrize("order_by", ["", "name desc", "create_time desc"])
def test_pages_go_on_where_they_were_whatever_changes(order_by: str) -> None:
    rng = random.Random(SEED)
    index, stays = Index(), {f"m{number:02}" for number in range(0, 40, 2)}
    for number in range(40):
        put(index, Model(f"m{number:02}"), version(f"m{number:02}", "1", float(rng.randrange(5))))
    seen: list[str] = []
    token = ""
    while True:
        page = index.search("", order_by, 7, token)
        seen += [model.name for model, _ in page.results]
        token = page.next_page_token
        if not token:
            break
        name = f"m{rng.randrange(1, 40, 2):02}"
        index.apply(keys.model(name), None if rng.random() < 0.5 else Model(name))
    assert len(seen) == len(set(seen))
    assert stays <= set(seen)
    if order_by != "create_time desc":
        assert all((one < other) != bool(order_by) for one, other in pairwise(seen))


def full(versions: int = 5) -> Index:
    index = Index()
    put(index, Model("m"), *(version("m", str(number)) for number in range(versions)))
    return index


def test_a_token_is_of_its_filter_and_order() -> None:
    index = full()
    token = index.search("version >= 0", "version", 2, "").next_page_token
    assert [v.version for _, v in index.search("version >= 0", " version ", 3, token).results] == ["2", "3", "4"]
    for filter_text, order_by in (("", "version"), ("version >= 0", "version desc"), ("version >= 0", "")):
        with pytest.raises(InvalidInputError, match="page_token: expected the token of an earlier page of the same"):
            index.search(filter_text, order_by, 2, token)


def test_no_token_but_ours() -> None:
    index = full()
    token = index.search("", "size_bytes", 2, "").next_page_token
    query, place = msgspec.msgpack.decode(base64.urlsafe_b64decode(token))
    forged = [(query, [["text"], *place[1:]]), (query, [[], *place[1:]]), (query, place[:2]), (b"", place), query, 3]
    tokens = [base64.urlsafe_b64encode(msgspec.msgpack.encode(one)).decode() for one in forged]
    for bad in (*tokens, "x", "!", "é", token[:-8], token + "AAAA", "AAAA" + token):
        with pytest.raises(InvalidInputError, match="page_token"):
            index.search("", "size_bytes", 2, bad)


@pytest.mark.parametrize("page_size", [0, -1])
def test_bad_page_sizes(page_size: int) -> None:
    with pytest.raises(InvalidInputError, match=f"page_size: expected 1 or more, got {page_size}"):
        Index().search("", "", page_size, "")


@pytest.mark.parametrize(
    ("order_by", "got"),
    [
        ("nmae", "got 'nmae'"),
        ("name asc", "got 'name asc'"),
        ("name desc desc", "got 'name desc desc'"),
        ("name,,version", "got ''"),
        ("description", "got 'description'"),
        ("alias", "got 'alias'"),
        ("labels", "got 'labels'"),
        ("name," * 8 + "name", "at most 8 fields"),
        ("labels." + "x" * 1024, "1024 characters"),
    ],
)
def test_bad_orders(order_by: str, got: str) -> None:
    with pytest.raises(InvalidInputError, match=f"order_by: expected .*{got}"):
        Index().search("", order_by, 1, "")


@pytest.mark.usefixtures("small")
def test_an_empty_index_finds_nothing() -> None:
    for text in FILTERS:
        for order_by in ORDERS:
            assert walk(Index(), text, order_by) == []


@pytest.mark.usefixtures("small")
def test_nothing_grows_with_changes() -> None:
    index = full()
    for number in range(1500):
        put(index, Model("m", f"text {number}", licence=f"{number}"))
        assert walk(index, f'licence = {number} description:"text {number}"', page_size=9) == [
            ("m", name) for name in "43210"
        ]
    kept = index._table
    assert len(kept._entries) == 5
    kept_columns = [*kept._values.values(), *kept._texts.values()]
    assert len(kept_columns) == 4
    assert max(len(column._values) for column in kept_columns) <= 2 * 5 + 2 + 1
