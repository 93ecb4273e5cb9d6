"""Every setting, its type, its default, its unit and its meaning, once."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config.errors import SettingsError, problems_of
from config.names import misspelled
from config.structures import NamespaceMap, PublicGateways
from config.values import Duration, HttpUrl, Size, Urls, check_url

_FILEBASE = ("FILEBASE_IPFS_API_KEY", "FILEBASE_IPFS_API_SECRET", "FILEBASE_BUCKET_NAME")
_BOOTSTRAP_CHARACTERS = 20

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
HOUR = 3600.0


class UnixFsProfile(StrEnum):
    V1_2025 = "unixfs-v1-2025"
    V0_2015 = "unixfs-v0-2015"


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _check_bootstrap_key(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if len(text) < _BOOTSTRAP_CHARACTERS or not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("must have 20 to 256 visible ASCII characters")
    return secret


def _secret_url(*schemes: str) -> AfterValidator:
    def check(secret: SecretStr) -> SecretStr:
        check_url(*schemes)(secret.get_secret_value())
        return secret

    return AfterValidator(check)


_Count = Annotated[int, Field(ge=1)]
_Span = Annotated[Duration, Field(gt=0, le=31_536_000, allow_inf_nan=False)]
_Bytes = Annotated[Size, Field(ge=0)]
_PostgresUrl = Annotated[SecretStr, _secret_url("postgresql", "postgres")]
_RedisUrl = Annotated[SecretStr, _secret_url("redis", "rediss", "unix")]


class Settings(BaseSettings):
    """Made by `from_env` alone; the name of a variable is that of its field in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    # where things are kept
    data_dir: Path = Field(Path("data"), description="Directory for everything that is kept on this machine.")
    database_url: _PostgresUrl | None = Field(
        None, description="Postgres for keys and index, postgresql://…; unset: an embedded one in DATA_DIR."
    )
    database_pool_size: _Count = Field(10, description="Connections to Postgres for each worker.")
    database_timeout: _Span = Field(10.0, description="Longest wait for one statement.")
    redis_url: _RedisUrl | None = Field(
        None, description="Redis for hot blocks, redis://… or rediss://…; unset: this process's memory only."
    )
    redis_timeout: _Span = Field(0.25, description="Longest wait for Redis, after which it counts as a miss.")
    cache_memory_bytes: _Bytes = Field(64 * MIB, description="Memory for hot blocks in each worker.")
    cache_redis_ttl: _Span = Field(24 * HOUR, description="How long a block stays in Redis.")

    # Filebase, or any other S3
    filebase_endpoint_url: HttpUrl = Field("https://s3.filebase.com", description="Filebase or another S3.")
    filebase_ipfs_api_key: SecretStr | None = Field(None, description="Access key; unset: DATA_DIR is used.")
    filebase_ipfs_api_secret: SecretStr | None = Field(None, description="Secret key to that.")
    filebase_bucket_name: str | None = Field(None, description="The bucket.")
    filebase_region: str = Field("us-east-1", description="Region of the bucket.")
    circuit_breaker_fail_max: _Count = Field(5, description="Failures in a row that stop calls to a remote.")
    circuit_breaker_reset_timeout: _Span = Field(60.0, description="How long they are stopped.")

    # serving
    gateway_host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for all.")
    gateway_port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    workers: int = Field(1, ge=1, le=1024, description="Processes that share the port.")
    public_url: HttpUrl | None = Field(None, description="URL that clients see, where links are printed.")
    public_gateways: PublicGateways = Field(
        default_factory=dict,
        description="JSON object of host names, as Kubo's Gateway.PublicGateways.",
    )
    deserialized_responses: bool = Field(
        True, description="false: only raw blocks and CARs, on hosts that PUBLIC_GATEWAYS does not list."
    )
    ipfs_ns_map: NamespaceMap = Field(
        default_factory=dict, description="DNSLink overrides as Kubo's: `example.org:/ipfs/bafy…,…`."
    )
    upstream_gateways: Urls = Field((), description="URLs, by comma, of gateways asked for what is not here.")
    shutdown_grace: _Span = Field(30.0, description="How long open requests may take after a stop.")

    # writing
    bootstrap_api_key: Annotated[SecretStr, AfterValidator(_check_bootstrap_key)] | None = Field(
        None, max_length=256, description="The first API key; unset: a random one is made and shown once."
    )
    unixfs_profile: UnixFsProfile = Field(
        UnixFsProfile.V1_2025, description="How files are cut: unixfs-v1-2025 or unixfs-v0-2015."
    )

    # limits
    max_upload_bytes: Annotated[_Bytes, Field(ge=1)] = Field(
        64 * GIB, description="Largest upload; 413 beyond."
    )
    upload_timeout: _Span = Field(6 * HOUR, description="Longest upload.")
    upload_idle_timeout: _Span = Field(60.0, description="Longest silence of a client that uploads.")
    retrieval_timeout: _Span = Field(30.0, description="Longest search for a block; 504 beyond.")
    max_concurrent_requests: _Count = Field(4096, description="Requests at once in a worker; 429 beyond.")
    max_concurrent_uploads: _Count = Field(64, description="Uploads at once in a worker; 429 beyond.")
    max_path_bytes: Annotated[_Bytes, Field(ge=1)] = Field(8 * KIB, description="Longest path of a request.")
    max_path_segments: _Count = Field(256, description="Most names in a path.")
    max_car_blocks: int = Field(
        2_000_000,
        ge=1,
        le=1 << 28,
        description="Most blocks in an uploaded CAR, with those it links to; 70 bytes of memory for each.",
    )
    max_directory_entries: _Count = Field(1_000_000, description="Most entries of an uploaded directory.")
    sweep_interval: _Span = Field(HOUR, description="How often objects that nothing points to are removed.")

    # logs
    log_format: LogFormat = Field(LogFormat.TEXT, description="text or json.")
    log_level: LogLevel = Field(LogLevel.INFO, description="debug, info, warning or error.")
    access_log: bool = Field(True, description="One line for each request: true or false.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The environment comes as a mapping, and never from the process behind a test's back.
        return (init_settings,)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises SettingsError, which names everything that is wrong at once. Empty means unset."""
        names = variables()
        given = {name: environ[name] for name in names if environ.get(name, "").strip()}
        problems = misspelled(environ, names) + _half_configured(given)
        try:
            settings = cls.model_validate({name.lower(): value for name, value in given.items()})
        except ValidationError as error:
            problems += problems_of(error, given, secret_variables())
        if problems:
            raise SettingsError(problems)
        return settings

    @property
    def uses_s3(self) -> bool:
        return self.filebase_bucket_name is not None


def variables() -> list[str]:
    return [name.upper() for name in Settings.model_fields]


def secret_variables() -> frozenset[str]:
    """Found by their type, so that none is forgotten."""
    fields = Settings.model_fields.items()
    return frozenset(name.upper() for name, info in fields if "SecretStr" in repr(info.annotation))


def _half_configured(given: Mapping[str, str]) -> list[str]:
    missing = [name for name in _FILEBASE if name not in given]
    if not missing or len(missing) == len(_FILEBASE):
        return []
    return [f"{name} is missing: {', '.join(_FILEBASE)} are set together or not at all" for name in missing]
