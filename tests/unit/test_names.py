import string

import pytest

from modelyard.errors import InvalidInputError
from modelyard.names import MAX_LENGTH, ModelVersion, check_name, parse_reference

ALLOWED = string.ascii_letters + string.digits + "._-"


@pytest.mark.parametrize("name", ["a", "9", "iris", "resnet-50.v1_5", "A" * MAX_LENGTH, "1.0"])
def test_good_names(name: str) -> None:
    assert check_name("model", name) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "model name: expected 1 to 120 characters, got an empty string"),
        ("a" * 121, "model name: expected at most 120 characters, got 121"),
        ("a/b", "model name 'a/b': expected letters, digits"),
        ("a b", "'a b'"),
        ("a@1", "'a@1'"),
        (".a", "beginning with a letter or digit"),
        ("-a", "beginning with a letter or digit"),
        ("a\n", r"'a\n'"),
        ("modèle", "'modèle'"),
        ("a\0", r"'a\x00'"),
    ],
)
def test_bad_names(name: str, words: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_name("model", name)
    assert words in refused.value.message


def test_every_character_outside_the_alphabet_is_refused() -> None:
    for code in [*range(256), 0x3B1, 0x0663, 0x1D7D8]:
        character = chr(code)
        if character in ALLOWED:
            assert check_name("model", "a" + character) == "a" + character
        else:
            with pytest.raises(InvalidInputError):
                check_name("model", "a" + character)


@pytest.mark.parametrize(
    ("reference", "read"),
    [("m", ModelVersion("m", "")), ("m@1", ModelVersion("m", "1")), ("m@prod", ModelVersion("m", "prod"))],
)
def test_references(reference: str, read: ModelVersion) -> None:
    assert parse_reference(reference) == read


@pytest.mark.parametrize("reference", ["", "@1", "m@", "m@1@2", "m/n@1", "m@a b"])
def test_bad_references(reference: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_reference(reference)


def test_a_model_version_is_written_as_it_is_read() -> None:
    assert parse_reference(str(ModelVersion("m", "2"))) == ModelVersion("m", "2")
