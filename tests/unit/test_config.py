from dataclasses import dataclass

import pytest

from modelyard import config
from modelyard.config import option


@dataclass(frozen=True)
class Sample:
    """A service of the tests."""

    id: str = option("sample-0", "its name")
    port: int = option(8001, "its port")
    grace_s: float = option(1.5, "seconds")
    data_dir: str = option("data", "its directory")
    lease_s: int = option(15, "seconds", 2)
    drain_s: float = option(0.0, "seconds", 0)


def test_defaults_stand_where_nothing_is_said() -> None:
    assert config.load(Sample, [], {"PATH": "/bin", "HOME": "/"}) == Sample("sample-0", 8001, 1.5, "data")


def test_variables_win_over_defaults_and_are_converted() -> None:
    environ = {"MODELYARD_PORT": "1", "MODELYARD_GRACE_S": "0.25", "MODELYARD_DATA_DIR": ""}
    assert config.load(Sample, [], environ) == Sample("sample-0", 1, 0.25, "")


def test_where_a_user_has_the_front_door_is_nothing_to_a_service() -> None:
    assert config.load(Sample, [], {config.CLIENT: "127.0.0.1:8001"}) == Sample("sample-0", 8001, 1.5, "data")


def test_a_number_may_be_the_least_one() -> None:
    assert config.load(Sample, ["--lease-s=2"], {"MODELYARD_DRAIN_S": "0"}).lease_s == 2


def test_flags_win_over_variables() -> None:
    loaded = config.load(Sample, ["--port=2", "--data-dir", "d"], {"MODELYARD_PORT": "1", "MODELYARD_ID": "x"})
    assert loaded == Sample("x", 2, 1.5, "d")


@pytest.mark.parametrize(
    ("argv", "environ", "words"),
    [
        (["--prot=1"], {}, ["--prot=1"]),
        (["--port=http"], {}, ["--port", "http"]),
        (["--lease-s=1"], {}, ["--lease-s", "finite number of at least 2", "'1'"]),
        ([], {"MODELYARD_LEASE_S": "1"}, ["--lease-s", "finite number of at least 2", "'1'"]),
        (["--lease-s=soon"], {}, ["--lease-s", "'soon'"]),
        (["--drain-s=inf"], {}, ["--drain-s", "finite number of at least 0", "'inf'"]),
        (["--drain-s=nan"], {}, ["--drain-s", "finite number of at least 0", "'nan'"]),
        ([], {"MODELYARD_PORT": "http"}, ["--port", "http"]),
        ([], {"MODELYARD_PROT": "1"}, ["MODELYARD_PROT", "MODELYARD_PORT"]),
        (["stray"], {}, ["stray"]),
    ],
)
def test_what_is_not_understood_ends_the_start_with_one_line(
    argv: list[str], environ: dict[str, str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        config.load(Sample, argv, environ)
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert all(word in said for word in words)


def test_an_abbreviated_flag_is_not_understood() -> None:
    with pytest.raises(SystemExit):
        config.load(Sample, ["--por=1"], {})


def test_help_names_every_field_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        config.load(Sample, ["--help"], {})
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for words in ("A service of the tests.", "--data-dir", "its directory (default 'data')", "(default 8001)"):
        assert words in text


@dataclass(frozen=True)
class Switch:
    """A service with a flag."""

    loud: bool = option(False, "whether it shouts")


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        ([], {}, False),
        (["--loud"], {}, True),
        (["--loud=true"], {}, True),
        (["--loud", "false"], {}, False),
        ([], {"MODELYARD_LOUD": "1"}, True),
        ([], {"MODELYARD_LOUD": "0"}, False),
        (["--loud=false"], {"MODELYARD_LOUD": "true"}, False),
    ],
)
def test_flags_that_are_on_or_off(argv: list[str], environ: dict[str, str], expected: bool) -> None:
    assert config.load(Switch, argv, environ) == Switch(expected)


@pytest.mark.parametrize(("argv", "environ"), [(["--loud=maybe"], {}), ([], {"MODELYARD_LOUD": ""})])
def test_flags_that_are_neither(argv: list[str], environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        config.load(Switch, argv, environ)
    assert "--loud: expected one of true, false, 1, 0; got " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("0", 0), ("512", 512), ("1KiB", 1024), ("64MiB", 64 << 20), ("1.5GiB", 3 << 29), (" 2 TiB ", 2 << 40)],
)
def test_parse_bytes(text: str, size_bytes: int) -> None:
    assert config.parse_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "1GB", "GiB", "-1", "1e3", "1.MiB", "1 GiB 2"])
def test_parse_bytes_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size such as 512MiB") as refused:
        config.parse_bytes(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (8 << 20, "8 MiB"),
        (5 << 40, "5 TiB"),
        (9 << 50, "9216 TiB"),
    ],
)
def test_format_bytes(size_bytes: int, text: str) -> None:
    assert config.format_bytes(size_bytes) == text


def test_parse_pairs() -> None:
    assert config.parse_pairs("") == {}
    assert config.parse_pairs("cpu=8, memory=32GiB,") == {"cpu": "8", "memory": "32GiB"}
    assert config.parse_pairs("a=b=c,d=") == {"a": "b=c", "d": ""}


@pytest.mark.parametrize("text", ["cpu", "=8", "cpu=8,memory"])
def test_parse_pairs_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="expected key=value, got"):
        config.parse_pairs(text)


def test_the_variable_of_tests_is_no_setting_and_is_handed_down() -> None:
    environ = {config.TEST_RUNTIME: "delay", "MODELYARD_PORT": "1", "PATH": "/bin"}
    assert config.load(Sample, [], environ).port == 1
    assert config.without_settings(environ) == {config.TEST_RUNTIME: "delay", "PATH": "/bin"}
