from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import pytest

from modelyard.catalogue import Lifecycle, Lineage, Model, Resources, Signature, TensorSpec, Version
from modelyard.errors import InvalidInputError
from modelyard_registry.search.entry import Entry, natural
from modelyard_registry.search.filters import Narrowing, compile_filter

MODEL = Model(
    name="image-classifier",
    description="Classifies street signs",
    labels={"team": "vision", "stage": "dev"},
    licence="Apache-2.0",
)
VERSION = Version(
    model="image-classifier",
    version="10",
    format="onnx",
    signature=Signature((TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "FP32", (-1, 10)),)),
    resources=Resources(4.0, 16 << 30, 0),
    manifest_digest="",
    size_bytes=3 << 20,
    labels={"stage": "prod", "cost centre": "7", "app.example/tier": "gold", "empty": "", "star": "a*b", "Ö": "ö"},
    description='Quantised: FAST, and (nearly) as good. 100% "sure" a\\b',
    tenant="acme",
    create_time_s=1_769_846_400.0,  # 2026-01-31T08:00:00Z
    lineage=Lineage("9", "train-7", "gtsrb"),
    metrics={"accuracy": 0.97, "loss": -0.5, "zero": 0.0, "top 5": 1.0, "none": math.nan, "endless": math.inf},
)
ENTRY = Entry.join(MODEL, VERSION, ("latest", "prod"))


def matches(text: str, **changes: Any) -> bool:
    entry = Entry.join(MODEL, dataclasses.replace(VERSION, **changes), ENTRY.aliases) if changes else ENTRY
    return compile_filter(text).matches(entry)


YES = r"""
classifier
CLASSIFIER
street quantised fast
"street signs"
'STREET SIGNS'
"100% \"sure\""
"a\\b"
-slow
-speech OR street
NOT slow
NOT (slow OR speech)
-(slow fast)
fast AND signs
fast slow OR signs
fast OR slow signs
(slow fast) OR signs
ANDROID OR NOTHING OR ORDER OR street
name = image-classifier
name=image-classifier
name = "image-classifier"
name = image-*
name = *-classifier
name = *age-class*
name = *
name != image
name != *x*
name:CLASS
name > image
name <= image-classifier
version = 10
version > 9
version >= 9.9
version < 10.1
version != 9
description:"street SIGNS"
description:quantised
description = "Classifies street signs"
description = Classifies*
description = *\\b
description != fast
description:*
licence:apache
licence = Apache*
tenant = acme
format = onnx
format != torch_export
state = ACTIVE
state = active
state != DELETED
state:ACTIVE
size_bytes = 3MiB
size_bytes = 3145728
size_bytes > 1.5MiB
size_bytes < "4 MiB"
size_bytes <= 3145728.0
size_bytes:3MiB
size_bytes > -1
create_time = 2026-01-31T08:00:00Z
create_time = "2026-01-31T09:00:00+01:00"
create_time < 2026-01-31T08:00:00.001Z
create_time > 2026-01-31
create_time <= 2026-02-01
create_time = 2026-01-31t08:00:00z
update_time = 2026-01-31T08:00:00Z
alias = prod
alias:latest
alias = p*
alias != dev
alias:*
labels:team
labels:stage
labels:app*
labels:*
labels.team = vision
labels.stage = prod
labels.stage != dev
labels.team:VIS
labels.team:*
labels.empty:*
labels.empty = ""
labels."cost centre" = 7
labels.'cost centre' < 10
labels.app.example/tier = gold
labels.absent != x
-labels.absent:*
labels.star = a\*b
labels.star = "a\*b"
labels.star = a\**
labels.star:"\*"
labels.Ö:Ö
metrics:accuracy
metrics.accuracy > 0.9
metrics.accuracy = 0.97
metrics.accuracy < 1e3
metrics.accuracy >= .97
metrics.loss = -0.5
metrics.loss > -1
metrics.loss > -1 -slow
metrics.zero:*
metrics.zero = 0
metrics."top 5" = 1
metrics.none != 1
metrics.endless > 1e300
metrics.endless:*
resources.cpu = 4
resources.memory_bytes = 16GiB
resources.cpu:*
resources.gpu = 0
lineage.parent_version < 10
lineage.job = train-7
lineage.dataset:GTS
takes("FP32[-1,3]") returns("FP32[-1,10]")
fits(cpu=4, memory=16GiB, gpu=0)
fits(cpu=4.5)
fits( memory = 17179869184 )
""".strip().split("\n")

NO = (
    r"""
slow
street slow
fast -signs
NOT fast
-(slow OR fast)
"signs street"
"signs quantised"
name = Image-classifier
name = image
name = *image
name = classifier*
name != image-*
name:speech
name < image
version > 10
description = fast
description != Classifies*
licence != *
state = DELETED
state != ACTIVE
size_bytes > 3MiB
size_bytes != 3145728
create_time < 2026-01-31T08:00:00Z
create_time > 2026-02-01
alias = dev
alias != prod
alias = "pro"
labels:absent
-labels:team
labels.stage = dev
labels.absent = x
labels.absent = *
labels.absent < x
labels.absent:*
labels.team = ""
labels.star = a\*
metrics:absent
metrics.absent > 0
metrics.absent < 0
metrics.accuracy != 0.97
metrics.none:*
metrics.none < 1
metrics.none >= 1
resources.gpu:*
lineage.parent_version > 10
takes("FP32[-1,4]")
returns("FP32[-1,9]")
fits(cpu=3.9)
fits(memory=15GiB, gpu=0)
""".strip()
    .replace("version = 1*0\n", "")
    .split("\n")
)


@pytest.mark.parametrize("text", YES)
def test_matches(text: str) -> None:
    assert matches(text)


@pytest.mark.parametrize("text", NO)
def test_does_not_match(text: str) -> None:
    assert not matches(text)


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_the_empty_filter_matches_what_is_not_deleted(text: str) -> None:
    assert matches(text)
    assert not matches(text, state=Lifecycle.DELETED)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fast", False),
        ("-slow", False),
        ("format = onnx OR fast", False),
        ("state = DELETED", True),
        ("NOT state = ACTIVE", True),
        ("(fast OR -(slow state = DELETED)) format = onnx", True),
        ("state:*", True),
        ("labels.state != DELETED", False),
    ],
)
def test_deleted_versions_are_found_only_by_a_filter_that_names_the_state(text: str, found: bool) -> None:
    assert matches(text, state=Lifecycle.DELETED) == found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("slow fast OR signs", "slow AND (fast OR signs)"),
        ("slow AND fast OR signs", "slow (fast OR signs)"),
        ("signs OR slow fast", "(signs OR slow) fast"),
        ("-slow OR fast", "(-slow) OR fast"),
        ("NOT fast signs", "(NOT fast) AND signs"),
        ("((slow))", "slow"),
    ],
)
def test_precedence(one: str, other: str) -> None:
    for description in ("", "slow", "slow fast", "fast", "signs", "signs fast", "signs slow"):
        entry = Entry.join(Model("m"), dataclasses.replace(VERSION, model="m", description=description), ())
        assert compile_filter(one).matches(entry) == compile_filter(other).matches(entry), description


def test_a_date_is_its_midnight_in_utc_wherever_the_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert compile_filter("create_time = 2026-01-31 state:*").matches(
            Entry.join(MODEL, dataclasses.replace(VERSION, create_time_s=1_769_817_600.0), ())
        )
    finally:
        monkeypatch.undo()
        time.tzset()


WORD = "a word, a field, a function or '('"
OPERATOR = "an operator (= != < <= > >= :)"


@pytest.mark.parametrize(
    ("text", "column", "expected", "got"),
    [
        ("name =", 7, "a value", "the end"),
        ("name = AND", 8, "a value", "AND"),
        ("name = ,", 8, "a value", ","),
        ("name =\n\t=", 9, "a value", "="),
        ("OR fast", 1, WORD, "OR"),
        ("fast OR", 8, WORD, "the end"),
        ("fast AND AND slow", 10, WORD, "AND"),
        ("NOT", 4, WORD, "the end"),
        ("--fast", 2, WORD, "-fast"),
        ("()", 2, WORD, ")"),
        ("fast)", 5, "the end", ")"),
        ("(fast", 6, "')'", "the end"),
        ("a - b", 3, f"{WORD}, {OPERATOR}, AND, OR or the end", "-"),
        ("a, b", 2, f"{WORD}, {OPERATOR}, AND, OR or the end", ","),
        ("name = a = b", 10, f"{WORD}, AND, OR or the end", "="),
        ('labels."x"', 11, OPERATOR, "the end"),
        ('fast "slow', 6, "text between two quotes", '"slow'),
        ("name = 'a", 8, "text between two quotes", "'a"),
        ("fits(cpu=4", 11, "',' or ')'", "the end"),
        ("fits()", 6, "a value", ")"),
        ('takes("FP32[1,a]")', 15, "a size, -1 or *", "a"),
        ('takes( "FP32 64")', 14, "'[' or the end", "64"),
        ('takes("")', 8, "a tensor such as x: FP32[-1,64] or a datatype", "the end"),
        ('fast takes("FP32[-2]")', 18, "a size, -1 or * or ']'", "-2"),
    ],
)
def test_syntax_errors_name_the_column(text: str, column: int, expected: str, got: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        compile_filter(text)
    assert caught.value.message == f"filter: column {column}: expected {expected}; got {got!r}"


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("nmae = x", 1, "one of the fields name, version, "),
        ("fast (labels. = x)", 7, "one of the fields"),
        ("labels = x", 8, "one of the operators : for"),
        ("alias < x", 7, "one of the operators = != : for"),
        ("description > x", 13, "one of the operators = != : for"),
        ("fast state = GONE", 14, "ACTIVE or DELETED"),
        ("state = *", 9, "ACTIVE or DELETED"),
        ("size_bytes > big", 14, "a size such as 512MiB or 16GiB"),
        ("size_bytes > 1.2.3GiB", 14, "a size"),
        (f"size_bytes > {'9' * 400}TiB", 14, "a size"),
        ("metrics.a > high", 13, "a number"),
        ("metrics.a > nan", 13, "a number"),
        ("metrics.a > inf", 13, "a number"),
        ("metrics.a > 1_000", 13, "a number"),
        ("metrics.a > ٣", 13, "a number"),
        ("resources.cpu > 1GiB", 17, "a number"),
        ('resources.cpu > "x"', 18, "a number"),
        ("create_time > 2026-01-31T08:00:00", 15, "a timestamp such as 2026-01-31T08:00:00Z"),
        ("create_time > 2026-02-30", 15, "a timestamp"),
        ("create_time > 20260131", 15, "a timestamp"),
        ("create_time > now", 15, "a timestamp"),
        ("name = a*b", 9, "* only at the ends"),
        ("name = *a*b*", 10, "* only at the ends"),
        ("alias:a*b", 8, "* only at the ends"),
        ("name:a*", 7, "no * here"),
        ("fast res*", 9, "no * here"),
        ("version < 1*", 12, "no * here"),
        ("fast foo(x)", 6, "one of the functions takes, returns, fits"),
        ('takes(x="FP32")', 7, "a tensor such as"),
        ('takes("FP33[1]")', 8, "a datatype of BOOL, "),
        (f"takes({','.join(['FP32'] * 33)})", 1, "at most 32 tensors"),
        ("fits(4)", 6, "cpu, memory, gpu"),
        ("fits(disk=4)", 6, "cpu, memory, gpu"),
        ("fits(cpu=4, cpu=5)", 13, "cpu, memory, gpu, each once"),
        ("fits(cpu=4GiB)", 10, "a number"),
        ("fits(memory=much)", 13, "a size"),
        ("x" * 4097, 4097, "at most 4096 characters"),
        ("fast " * 65, 321, "at most 64 conditions"),
        ("-(" * 33 + "x" + ")" * 33, 67, "at most 32 levels"),
    ],
)
def test_other_errors_name_the_column(text: str, column: int, expected: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        compile_filter(text)
    assert caught.value.message.startswith(f"filter: column {column}: expected {expected}")
    assert len(caught.value.message) < 500


def test_long_filters_that_are_right() -> None:
    assert matches(" OR ".join(["slow"] * 63 + ["fast"]))
    assert matches("(" * 2000 + "fast" + ")" * 2000)
    assert matches("-(" * 32 + "fast" + ")" * 32)


@pytest.mark.parametrize(
    ("text", "narrowing"),
    [
        ("", Narrowing()),
        ("fast", Narrowing()),
        ("name = a", Narrowing(name="a")),
        ("name = a*", Narrowing(name_prefix="a")),
        ("name = *", Narrowing()),
        ("name = *a", Narrowing()),
        ("name = *a*", Narrowing()),
        (r"name = a\*", Narrowing(name="a*")),
        ("name != a", Narrowing()),
        ("name:a", Narrowing()),
        ("name > a", Narrowing()),
        ("format = onnx", Narrowing(format="onnx")),
        ("labels.team = vision", Narrowing(labels=(("team", "vision"),))),
        ('labels."a b" = ""', Narrowing(labels=(("a b", ""),))),
        ("labels.team = v*", Narrowing()),
        ("labels:team", Narrowing()),
        ("NOT name = a", Narrowing()),
        ("name = a OR name = b", Narrowing()),
        ("(name = a* fast) name = ab* -format = onnx", Narrowing(name_prefix="ab")),
        ("name = a name = b", Narrowing(name="a")),
        (
            "labels.x = 1 labels.y = 2 format = onnx (fast OR labels.z = 3)",
            Narrowing(format="onnx", labels=(("x", "1"), ("y", "2"))),
        ),
    ],
)
def test_what_an_index_can_use(text: str, narrowing: Narrowing) -> None:
    assert compile_filter(text).narrowing == narrowing


@pytest.mark.parametrize(
    "ordered",
    [("1", "2", "9", "10", "11", "100"), ("v1.9", "v1.10", "v1.10.1", "v2"), ("", "0", "a", "a0", "a1", "b")],
)
def test_numbers_in_texts_count_as_numbers(ordered: tuple[str, ...]) -> None:
    assert [natural(text) for text in ordered] == sorted(natural(text) for text in ordered)
    assert len({natural(text) for text in ordered}) == len(ordered)
    assert natural("007") == natural("7")
