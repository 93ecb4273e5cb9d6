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
from config.resolvers import DnsResolvers
from config.structures import NamespaceMap, PublicGateways
from config.values import (
    BucketName,
    Duration,
    HostPatterns,
    HttpUrl,
    Networks,
    Size,
    Urls,
    check_time_of_day,
    check_url,
)

_FILEBASE = ("FILEBASE_IPFS_API_KEY", "FILEBASE_IPFS_API_SECRET", "FILEBASE_BUCKET_NAME")
_BOOTSTRAP_CHARACTERS = 20

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
HOUR = 3600.0


class UnixFsProfile(StrEnum):
    V1_2025 = "unixfs-v1-2025"
    V0_2015 = "unixfs-v0-2015"


class FilebaseImport(StrEnum):
    PLAIN = "plain"
    CAR = "car"
    BOTH = "both"


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


def _check_key_secret(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < _BOOTSTRAP_CHARACTERS:
        raise ValueError(
            "must have at least 20 characters, for example what `openssl rand -base64 32` prints"
        )
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
    database_pool_size: int = Field(
        10,
        ge=4,
        description="Connections to Postgres for each worker; two of them listen for changes and jobs.",
    )
    database_timeout: _Span = Field(10.0, description="Longest wait for one statement.")
    redis_url: _RedisUrl | None = Field(
        None, description="Redis for hot blocks, redis://… or rediss://…; unset: this process's memory only."
    )
    redis_timeout: _Span = Field(0.25, description="Longest wait for Redis, after which it counts as a miss.")
    cache_memory_bytes: _Bytes = Field(64 * MIB, description="Memory for hot blocks in each worker.")
    site_files_bytes: _Bytes = Field(
        32 * MIB, description="Memory for websites' _redirects, and as much for _headers, in each worker."
    )
    cache_redis_ttl: _Span = Field(24 * HOUR, description="How long a block stays in Redis.")

    # Filebase, or any other S3
    filebase_endpoint_url: HttpUrl = Field("https://s3.filebase.com", description="Filebase or another S3.")
    filebase_ipfs_api_key: SecretStr | None = Field(None, description="Access key; unset: DATA_DIR is used.")
    filebase_ipfs_api_secret: SecretStr | None = Field(None, description="Secret key to that.")
    filebase_bucket_name: BucketName | None = Field(None, description="The bucket.")
    filebase_region: str = Field("us-east-1", description="Region of the bucket.")
    filebase_import: FilebaseImport = Field(
        FilebaseImport.PLAIN,
        description="plain: files as they are; car: everything as CARs, pinned under our CIDs or refused;"
        " both: car, with a copy to read from.",
    )
    filebase_cid_timeout: _Span = Field(30.0, description="Longest wait for the CID that Filebase gives.")
    s3_connect_timeout: _Span = Field(5.0, description="Longest wait for a connection to the bucket.")
    s3_timeout: _Span = Field(
        10.0, description="Longest wait for the bucket's answer to begin, and for more of it."
    )
    s3_part_bytes: Annotated[_Bytes, Field(ge=5 * MIB, le=5 * GIB)] = Field(
        8 * MIB, description="Parts of uploads larger than this; the first and the last wait in memory."
    )
    s3_parts_at_once: _Count = Field(8, description="Parts of all uploads on their way, in each worker.")
    circuit_breaker_fail_max: _Count = Field(5, description="Failures in a row that stop calls to a remote.")
    circuit_breaker_reset_timeout: _Span = Field(60.0, description="How long they are stopped.")

    # serving
    gateway_host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for all.")
    gateway_port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    workers: int = Field(1, ge=1, le=1024, description="Processes that share the port.")
    public_url: HttpUrl | None = Field(None, description="URL that clients see, where links are printed.")
    public_gateways: PublicGateways = Field(
        default_factory=dict,
        description="JSON object of host names, as Kubo's Gateway.PublicGateways; null: not a gateway.",
    )
    deserialized_responses: bool = Field(
        True, description="false: only raw blocks and CARs, where PUBLIC_GATEWAYS says nothing else."
    )
    dnslink_gateway: HostPatterns = Field(
        (), description="Hosts by comma, `*` for a label, whose DNSLink website is served; `any` for all."
    )
    strict_hosts: bool = Field(
        False, description="true: 404 for hosts that neither PUBLIC_GATEWAYS nor a DNSLink names."
    )
    trusted_proxies: Networks = Field(
        (), description="Networks by comma, as 10.0.0.0/8, whose X-Forwarded-Host, -Proto and -For count."
    )
    ipfs_ns_map: NamespaceMap = Field(
        default_factory=dict, description="DNSLink overrides as Kubo's: `example.org:/ipfs/bafy…,…`."
    )
    dnslink_resolvers: DnsResolvers = Field(
        default_factory=dict,
        description='JSON object as Kubo\'s DNS.Resolvers: `{"eth.": "https://…", ".": "192.0.2.1"}`.',
    )
    dns_timeout: _Span = Field(5.0, description="Longest wait for the DNS.")
    names_cache_bytes: _Bytes = Field(
        4 * MIB, description="Memory for IPNS and DNSLink names in each worker."
    )
    names_cache_max_ttl: _Span = Field(
        24 * HOUR, description="How long a name is remembered at most, whatever its record says."
    )
    names_cache_negative_ttl: _Span = Field(
        10.0, description="How long a name that leads nowhere is remembered."
    )
    delegated_routers: Urls = Field(
        (),
        description="URLs by comma of delegated routing servers, for IPNS records: asked, and told of ours.",
    )
    ipns_key_secret: Annotated[SecretStr, AfterValidator(_check_key_secret)] | None = Field(
        None,
        max_length=1024,
        description="Encrypts the IPNS keys made here: a long random text, to be kept; unset: no publishing.",
    )
    ipns_record_lifetime: Annotated[Duration, Field(ge=HOUR, le=100 * 365 * 24 * HOUR)] = Field(
        48 * HOUR, description="How long an IPNS record published here is valid; signed anew at half of it."
    )
    ipns_record_ttl: Annotated[Duration, Field(ge=0, le=31_536_000)] = Field(
        300.0, description="How long an IPNS record published here may be cached."
    )
    upstream_gateways: Urls = Field((), description="URLs, by comma, of gateways asked for what is not here.")
    shutdown_grace: _Span = Field(30.0, description="How long open requests may take after a stop.")

    # writing
    cleanup_time: Annotated[str, AfterValidator(check_time_of_day)] = Field(
        "02:00", description="When, each day, files that have expired are let go of; UTC."
    )
    temporary_retention: _Span = Field(
        720 * HOUR, description="How long what is uploaded with ?temporary=true is kept."
    )
    upload_log_retention: Annotated[Duration, Field(ge=HOUR, le=100 * 365 * 24 * HOUR)] = Field(
        8760 * HOUR, description="How long the upload log in Postgres goes back."
    )
    bootstrap_api_key: Annotated[SecretStr, AfterValidator(_check_bootstrap_key)] | None = Field(
        None, max_length=256, description="The first API key; unset: a random one is made and shown once."
    )
    unixfs_profile: UnixFsProfile = Field(
        UnixFsProfile.V1_2025,
        description="How files are cut: unixfs-v1-2025 or unixfs-v0-2015; unset: v1, and in a bucket with"
        " FILEBASE_IMPORT=plain v0, as Filebase does itself.",
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
    max_header_bytes: Annotated[_Bytes, Field(ge=4 * KIB)] = Field(
        32 * KIB, description="Header fields of a request, all together; 431 beyond."
    )
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
    def profile(self) -> UnixFsProfile:
        """UNIXFS_PROFILE, or the one that fits where it is unset."""
        is_set = "unixfs_profile" in self.model_fields_set
        if not is_set and self.uses_s3 and self.filebase_import is FilebaseImport.PLAIN:
            return UnixFsProfile.V0_2015
        return self.unixfs_profile

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
