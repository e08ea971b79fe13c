from __future__ import annotations

import pytest

from modelyard.datasets.allowed import check_allowed, prefixes
from modelyard.errors import InvalidInputError

ALLOWED = ("s3://bucket/data", "https://example.org/sets/", "https://all.example.org", "file:///srv/sets")


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/data",
        "s3://bucket/data/deep/x.npy",
        "https://example.org/sets/x.npy?signed=a/b",
        "https://all.example.org/anything",
        "file:///srv/sets/a..b/x@y.csv",
        "s3://bucket/data/50%25.csv",
    ],
)
def test_what_is_below_a_prefix_is_allowed(url: str) -> None:
    check_allowed(url, ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3://bucket/data2/x",
        "s3://bucket/datax",
        "S3://bucket/data/x",
        "https://example.org/sets",
        "https://all.example.org.evil.net/x",
        "https://all.example.org:8443/x",
        "s3://bucket/data/../secret",
        "s3://bucket/data/%2e%2e/secret",
        "s3://bucket/data/%252e%252e/secret",
        "s3://bucket/data/x%2f..%2f..%2fsecret",
        "s3://bucket/data/%" + "25" * 20 + "2e%2e/x",
        "s3://bucket/data/..\\secret",
        "s3://bucket/data/..?x",
        "simplecache::s3://bucket/data/x",
        "s3://bucket/data/x::file:///etc/passwd",
        "zip://x::s3://bucket/data/x",
        "file:///etc/passwd",
        "/srv/sets/x",
        "srv/sets/x",
        "s3://bucket/data/a b",
        "s3://bucket/data/a\nb",
        "s3://bucket/data/a\0b",
    ],
)
def test_nothing_else_is(url: str) -> None:
    with pytest.raises(InvalidInputError, match=r"expected a URL below s3://bucket/data, https://example\.org/sets/, "):
        check_allowed(url, ALLOWED)


def test_credentials_are_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInputError, match="expected a URL without credentials") as told:
        check_allowed("https://user:word@all.example.org/x?token=secret", ALLOWED)
    assert "https://all.example.org/x:" in told.value.message
    with pytest.raises(InvalidInputError) as below:
        check_allowed("ftp://host/x", ("ftp://user:word@other/",))
    for said in (told.value.message, below.value.message):
        assert "word" not in said
        assert "secret" not in said


def test_nothing_is_allowed_unless_it_is_said() -> None:
    assert prefixes(" , ") == ()
    assert prefixes("s3://a, file:///b") == ("s3://a", "file:///b")
    with pytest.raises(InvalidInputError, match="this server allows no URLs; upload the dataset instead"):
        check_allowed("s3://bucket/data/x", prefixes(""))
