"""The settings of IPNS: sources, the secret of keys, and how long records last."""

from __future__ import annotations

import pytest

from config.errors import SettingsError
from config.settings import Settings


def test_defaults() -> None:
    settings = Settings.from_env({})
    assert settings.delegated_routers == ()
    assert settings.ipns_key_secret is None
    assert (settings.ipns_record_lifetime, settings.ipns_record_ttl) == (48 * 3600, 300)


def test_what_is_set() -> None:
    settings = Settings.from_env(
        {
            "DELEGATED_ROUTERS": "https://a.example/, http://b.example",
            "IPNS_KEY_SECRET": "x" * 20,
            "IPNS_RECORD_LIFETIME": "7d",
            "IPNS_RECORD_TTL": "0",
        }
    )
    assert settings.delegated_routers == ("https://a.example", "http://b.example")
    assert settings.ipns_record_lifetime == 7 * 86400
    assert settings.ipns_record_ttl == 0
    assert "xxx" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("DELEGATED_ROUTERS", "ftp://a.example", "http"),
        ("IPNS_KEY_SECRET", "short", "at least 20 characters"),
        ("IPNS_KEY_SECRET", "x" * 1025, "1024"),
        ("IPNS_RECORD_LIFETIME", "5m", "3600"),
        ("IPNS_RECORD_LIFETIME", "101h years", "duration"),
        ("IPNS_RECORD_TTL", "-1", "duration"),
    ],
)
def test_what_cannot_be(name: str, value: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: value})
    assert name in str(caught.value)
    assert text in str(caught.value)
    if "SECRET" in name:
        assert value not in str(caught.value)
