"""The object store that the settings name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from config.settings import Settings
from gateway.metrics import Metrics
from ipld.unixfs.profiles import PROFILES
from storage.filebase import Import
from storage.places import BucketEvents, Folder, OpenPlace, S3Bucket, open_bucket, open_folder
from storage.resilient import Patience
from storage.s3 import S3Events
from storage.s3_account import S3Account, S3Limits, part_bytes_for
from storage.s3_errors import StoreRefused


@asynccontextmanager
async def open_objects(settings: Settings, metrics: Metrics) -> AsyncGenerator[OpenPlace, None]:
    """A bucket or a folder. Raises StoreRefused where the bucket cannot be what the settings say."""
    if not settings.uses_s3:
        async with open_folder(Folder(settings.data_dir / "objects")) as folder:
            yield folder
        return
    async with AsyncExitStack() as stack:
        try:
            bucket = await stack.enter_async_context(open_bucket(bucket_of(settings), _counted_by(metrics)))
        except StoreRefused as error:
            where = (
                f"FILEBASE_BUCKET_NAME={settings.filebase_bucket_name} at {settings.filebase_endpoint_url}"
            )
            raise StoreRefused(f"{where}: {error}") from error
        yield bucket


def bucket_of(settings: Settings) -> S3Bucket:
    """How the settings want the bucket to be used."""
    return S3Bucket(
        account_of(settings),
        Import(settings.filebase_import.value),
        PROFILES[settings.profile],
        settings.filebase_cid_timeout,
        limits_of(settings),
        Patience(settings.circuit_breaker_fail_max, settings.circuit_breaker_reset_timeout),
    )


def _counted_by(metrics: Metrics) -> BucketEvents:
    return BucketEvents(
        S3Events(metrics.store_retries.inc, metrics.store_hedges.inc, metrics.store_breaker.set),
        lambda outcome: metrics.filebase_cids.labels(outcome).inc(),
    )


def account_of(settings: Settings) -> S3Account:
    """The bucket, and the key to it."""
    key_id, secret = settings.filebase_ipfs_api_key, settings.filebase_ipfs_api_secret
    return S3Account(
        settings.filebase_endpoint_url,
        settings.filebase_region,
        settings.filebase_bucket_name or "",
        key_id.get_secret_value() if key_id else "",
        secret.get_secret_value() if secret else "",
    )


def limits_of(settings: Settings) -> S3Limits:
    """Parts are larger than set where the largest upload would have too many of them."""
    return S3Limits(
        settings.s3_connect_timeout,
        settings.s3_timeout,
        part_bytes=part_bytes_for(settings.max_upload_bytes, settings.s3_part_bytes),
        parts_at_once=settings.s3_parts_at_once,
    )
