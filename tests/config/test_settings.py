"""Every variable has a default, a meaning and a bound, and all that is wrong is said at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.environment import read_environment
from config.errors import SettingsError
from config.example import duration_text, env_example, size_text
from config.settings import LogFormat, Settings, UnixFsProfile, secret_variables, variables
from config.structures import PublicGateway
from config.values import parse_duration, parse_size, seconds_of_day

ROOT = Path(__file__).parents[2]
FILEBASE = {
    "FILEBASE_IPFS_API_KEY": "access",
    "FILEBASE_IPFS_API_SECRET": "very-secret",
    "FILEBASE_BUCKET_NAME": "bucket",
}


def problems(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    return str(caught.value)


def test_defaults() -> None:
    settings = Settings.from_env({})
    assert settings.gateway_port == 8080
    assert settings.max_upload_bytes == 64 << 30
    assert settings.redis_timeout == 0.25
    assert settings.unixfs_profile is UnixFsProfile.V1_2025
    assert settings.upstream_gateways == ()
    assert settings.access_log
    assert not settings.uses_s3


def test_every_kind_of_value() -> None:
    settings = Settings.from_env(
        FILEBASE
        | {
            "DATABASE_URL": "postgresql://user:hunter2@db/cidgate",
            "GATEWAY_PORT": "0",
            "MAX_UPLOAD_BYTES": "5GB",
            "UPLOAD_TIMEOUT": "90m",
            "LOG_FORMAT": "json",
            "ACCESS_LOG": "no",
            "UPSTREAM_GATEWAYS": "https://ipfs.io/, http://127.0.0.1:8081",
            "IPFS_NS_MAP": "Example.org:/ipfs/bafy,dnslink.test:/ipns/k51",
            "PUBLIC_GATEWAYS": '{"dweb.link": {"Paths": ["/ipfs"], "UseSubdomains": true}, "a.b": null}',
        }
    )
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://user:hunter2@db/cidgate"
    assert (settings.gateway_port, settings.max_upload_bytes, settings.upload_timeout) == (
        0,
        5 * 10**9,
        5400.0,
    )
    assert (settings.log_format, settings.access_log, settings.uses_s3) == (LogFormat.JSON, False, True)
    assert settings.upstream_gateways == ("https://ipfs.io", "http://127.0.0.1:8081")
    assert settings.ipfs_ns_map == {"example.org": "/ipfs/bafy", "dnslink.test": "/ipns/k51"}
    assert settings.public_gateways["a.b"] is None
    assert settings.public_gateways["dweb.link"] == PublicGateway.model_validate(
        {"Paths": ["/ipfs"], "UseSubdomains": True}
    )


def test_a_public_gateway_serves_no_path_that_was_not_named() -> None:
    """As Kubo: a website under its own name must not become a gateway for content of anybody."""
    assert PublicGateway.model_validate({}).paths == ()


@pytest.mark.parametrize(
    ("gateway", "text"),
    [
        ('{"UseSubdomains": true}', "UseSubdomains needs Paths, such as ['/ipfs', '/ipns']"),
        ('{"Paths": ["ipfs"]}', "a path begins with '/', which 'ipfs' does not"),
        ('{"Pahts": ["/ipfs"]}', "Pahts"),
    ],
)
def test_a_public_gateway_that_would_serve_nothing_is_refused(gateway: str, text: str) -> None:
    assert text in problems({"PUBLIC_GATEWAYS": f'{{"gw.example": {gateway}}}'})


@pytest.mark.parametrize("host", ["a:99999", "[1.2.3]", "[1:2]:80", "a" * 254, "a b", "a:", ""])
def test_what_is_no_host_is_said_at_start(host: str) -> None:
    assert "must have host names as its keys" in problems({"PUBLIC_GATEWAYS": f'{{"{host}": {{}}}}'})
    assert "IPFS_NS_MAP" in problems({"IPFS_NS_MAP": f"{host}:/ipfs/bafkqaaa"})


def test_what_is_a_host_is_taken() -> None:
    hosts = '{"[::1]:80": {}, "[1::2]": {}, "gw.example.:80": {}, "*.gw.example": {}}'
    assert len(Settings.from_env({"PUBLIC_GATEWAYS": hosts}).public_gateways) == 4
    assert "IPFS_NS_MAP" in problems({"IPFS_NS_MAP": "*.gw.example:/ipfs/bafkqaaa"})


def test_everything_wrong_is_said_at_once() -> None:
    text = problems(
        {"GATEWAY_PORT": "70000", "WORKERS": "two", "LOG_FORMAT": "xml", "MAX_UPLOAD_BYTES": "lots"}
        | {"RETRIEVAL_TIMEOUT": "0", "UPSTREAM_GATEWAYS": "ftp://x", "PUBLIC_GATEWAYS": "[1]"}
    )
    for expected in (
        "GATEWAY_PORT='70000': must be less than or equal to 65535",
        "WORKERS='two'",
        "LOG_FORMAT='xml': must be 'text' or 'json'",
        "MAX_UPLOAD_BYTES='lots': must be a size such as 64MiB",
        "RETRIEVAL_TIMEOUT='0'",
        "UPSTREAM_GATEWAYS='ftp://x': must be a URL that begins with http:// or https://",
        "PUBLIC_GATEWAYS='[1]': must be a JSON object",
    ):
        assert expected in text
    assert len(text.splitlines()) == 8


@pytest.mark.parametrize("name", ["bad bucket", "a/b", "büro", "b" * 256])
def test_what_is_no_bucket(name: str) -> None:
    assert "must be the name of a bucket" in problems(FILEBASE | {"FILEBASE_BUCKET_NAME": name})


def test_secrets_are_never_shown() -> None:
    environ = FILEBASE | {
        "DATABASE_URL": "mysql://user:hunter2@db/x",
        "REDIS_URL": "http://:hunter2@redis",
        "BOOTSTRAP_API_KEY": "hunter2 hunter2 hunter2",
    }
    text = problems(environ)
    assert "hunter2" not in text
    assert all(name in text for name in ("DATABASE_URL:", "REDIS_URL:", "BOOTSTRAP_API_KEY:"))
    good = Settings.from_env(FILEBASE | {"REDIS_URL": "redis://:hunter2@redis"})
    assert "hunter2" not in repr(good)
    assert "very-secret" not in repr(good)
    assert secret_variables() >= {
        "DATABASE_URL",
        "REDIS_URL",
        "FILEBASE_IPFS_API_SECRET",
        "BOOTSTRAP_API_KEY",
    }


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GATEWAY_PRT", "GATEWAY_PORT"),
        ("FILEBASE_BUCKET", "FILEBASE_BUCKET_NAME"),
        ("CIRCUIT_BREAKER_MAX_FAIL", "CIRCUIT_BREAKER_FAIL_MAX"),
        ("CIDGATE_WORKERS", "WORKERS"),
    ],
)
def test_typos_are_refused(name: str, meant: str) -> None:
    assert f"{name} is no variable of this program; did you mean {meant}?" in problems({name: "x"})


def test_other_programs_variables_are_ignored() -> None:
    assert Settings.from_env({"PATH": "/bin", "WORKER": "3"}) == Settings.from_env({})


@pytest.mark.parametrize("left_out", sorted(FILEBASE))
def test_filebase_is_configured_wholly_or_not_at_all(left_out: str) -> None:
    environ = {name: value for name, value in FILEBASE.items() if name != left_out}
    assert f"{left_out} is missing" in problems(environ)


def test_empty_means_unset() -> None:
    environ = dict.fromkeys(variables(), "")
    assert Settings.from_env(environ) == Settings.from_env({})


def test_the_process_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "1")
    assert Settings.from_env({}).gateway_port == 8080


def test_settings_do_not_change() -> None:
    settings = Settings.from_env({})
    with pytest.raises(ValueError, match="frozen"):
        settings.workers = 2


def test_example_is_the_settings() -> None:
    assert (ROOT / ".env.example").read_text() == env_example(), (
        "run: python -m config.example > .env.example"
    )


def test_example_has_the_defaults(tmp_path: Path) -> None:
    lines = env_example().splitlines()
    uncommented = [line[2:] for line in lines if line[2:].partition("=")[0] in variables()]
    assert len(uncommented) == len(variables())
    (tmp_path / ".env").write_text("\n".join(uncommented))
    assert Settings.from_env(read_environment(tmp_path, {})) == Settings.from_env({})


def test_every_setting_says_what_it_means() -> None:
    assert all(info.description for info in Settings.model_fields.values())


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "WORKERS=2\nGATEWAY_PORT='9000'\nREDIS_URL=redis://:a$HOME@r\n# LOG_FORMAT=json\n"
    )
    environ = read_environment(tmp_path, {"WORKERS": "3", "GATEWAY_PORT": ""})
    assert environ == {"WORKERS": "3", "GATEWAY_PORT": "9000", "REDIS_URL": "redis://:a$HOME@r"}
    assert "REDIS_URL" not in os.environ


def test_no_file_and_a_file_that_is_no_text(tmp_path: Path) -> None:
    assert read_environment(tmp_path, {"A": "b"}) == {"A": "b"}
    (tmp_path / ".env").write_bytes(b"WORKERS=\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_environment(tmp_path, {})


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64MiB", 64 << 20),
        ("5GB", 5 * 10**9),
        ("0", 0),
        ("1.5 kib", 1536),
        ("9007199254740993", 2**53 + 1),
        ("7b", 7),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1iB", "MiB", "1e9", "0x10", "\u0661", "5XB", "9" * 400])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("30", 30), ("5m", 300), ("6H", 21600), ("1d", 86400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1s", "inf", "nan", "1w", "1h30m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


@given(st.integers(0, 1 << 50))
def test_size_text_round_trips(size: int) -> None:
    assert parse_size(size_text(size)) == size


@given(st.integers(1, 10**7))
def test_duration_text_round_trips(seconds: int) -> None:
    assert parse_duration(duration_text(float(seconds))) == seconds


@given(st.sampled_from(variables()), st.text(max_size=50))
def test_any_text_is_a_setting_or_a_named_problem(name: str, text: str) -> None:
    try:
        Settings.from_env({name: text})
    except SettingsError as error:
        assert name in str(error)  # noqa: PT017 - either outcome is right


def test_the_profile_that_fits_the_store() -> None:
    assert Settings.from_env({}).profile is UnixFsProfile.V1_2025
    assert Settings.from_env(FILEBASE).profile is UnixFsProfile.V0_2015
    assert Settings.from_env(FILEBASE | {"FILEBASE_IMPORT": "car"}).profile is UnixFsProfile.V1_2025
    chosen = Settings.from_env(FILEBASE | {"UNIXFS_PROFILE": "unixfs-v1-2025"})
    assert chosen.profile is UnixFsProfile.V1_2025


def test_parts_are_as_large_as_s3_demands() -> None:
    assert "S3_PART_BYTES='4MiB'" in problems({"S3_PART_BYTES": "4MiB"})
    assert "FILEBASE_IMPORT='zip': must be 'plain', 'car' or 'both'" in problems({"FILEBASE_IMPORT": "zip"})


@pytest.mark.parametrize(("text", "seconds"), [("00:00", 0), ("02:00", 7200), (" 23:59 ", 86_340)])
def test_a_time_of_day(text: str, seconds: float) -> None:
    assert seconds_of_day(text) == seconds
    assert seconds_of_day(Settings.from_env({"CLEANUP_TIME": text}).cleanup_time) == seconds


@pytest.mark.parametrize("text", ["2:00", "24:00", "12:60", "noon", "02:00:00", "0200"])
def test_what_is_no_time_of_day(text: str) -> None:
    assert "CLEANUP_TIME" in problems({"CLEANUP_TIME": text})
