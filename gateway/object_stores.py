"""The object store that the settings name, and what operators are told of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from config.settings import FilebaseImport, Settings
from gateway.background import repeated
from gateway.context import Probe
from gateway.metrics import Metrics
from ipld.errors import StoreUnavailable
from ipld.unixfs.profiles import PROFILES
from storage.direct_uploads import Signer
from storage.filebase import FilebaseObjects, Import
from storage.local import LocalObjects
from storage.objects import ObjectStore
from storage.reindex import Adoption
from storage.resilient import Patience
from storage.s3 import S3Events, S3Objects, open_s3
from storage.s3_account import S3Account, S3Limits, part_bytes_for
from storage.s3_errors import StoreRefused
from storage.single_files import SingleFiles

logger = logging.getLogger(__name__)

# How long an answer of the bucket stands for the next ones: `/readyz` is asked often.
_REMEMBERED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class OpenStore:
    """`name` is the same at every start. `state` is what `/readyz` tells beside whether it works;
    `adoption` says how `reindex` takes in what others put there; `signer` lets others reach objects."""

    name: str
    objects: ObjectStore
    files: SingleFiles
    probe: Probe
    state: Callable[[], Mapping[str, str]]
    adoption: Adoption | None = None
    signer: Signer | None = None


@asynccontextmanager
async def open_objects(settings: Settings, metrics: Metrics) -> AsyncGenerator[OpenStore, None]:
    """A bucket or a folder. Raises StoreRefused where the bucket cannot be what the settings say."""
    if settings.uses_s3:
        async with _open_bucket(settings, metrics) as store:
            yield store
        return
    folder = settings.data_dir / "objects"
    local = LocalObjects(folder)

    async def probe() -> str | None:
        return None if await asyncio.to_thread(folder.is_dir) else f"the folder {folder} is not there"

    try:
        yield OpenStore("folder", local, SingleFiles(), probe, dict)
    finally:
        await local.aclose()


@asynccontextmanager
async def _open_bucket(settings: Settings, metrics: Metrics) -> AsyncGenerator[OpenStore, None]:
    events = S3Events(metrics.store_retries.inc, metrics.store_hedges.inc, metrics.store_breaker.set)
    patience = Patience(settings.circuit_breaker_fail_max, settings.circuit_breaker_reset_timeout)
    mode = settings.filebase_import
    async with AsyncExitStack() as stack:
        s3 = await stack.enter_async_context(
            open_s3(account_of(settings), limits_of(settings), patience, events)
        )
        objects = FilebaseObjects(
            s3,
            Import(mode.value),
            cid_timeout=settings.filebase_cid_timeout,
            on_cid=lambda outcome: metrics.filebase_cids.labels(outcome).inc(),
        )
        await _begin(objects, settings)

        async def remove_stale() -> None:
            # Twice the longest upload: none that may still end well is ever removed.
            metrics.swept.inc(await s3.abort_stale(2 * settings.upload_timeout))

        await stack.enter_async_context(repeated(remove_stale, settings.sweep_interval))
        files = SingleFiles(as_cars=mode is not FilebaseImport.PLAIN)
        name = f"{settings.filebase_endpoint_url.rstrip('/')}/{settings.filebase_bucket_name}"
        adoption = Adoption(objects, PROFILES[settings.profile])
        state = partial(_state, s3, objects)
        yield OpenStore(name, objects, files, _bucket_probe(s3), state, adoption, s3.signer)


async def _begin(objects: FilebaseObjects, settings: Settings) -> None:
    """A wrong setting is said at start; a store that is away may come back."""
    try:
        await objects.check_mode()
    except StoreRefused as error:
        where = f"FILEBASE_BUCKET_NAME={settings.filebase_bucket_name} at {settings.filebase_endpoint_url}"
        raise StoreRefused(f"{where}: {error}") from error
    except StoreUnavailable as error:
        logger.warning("the bucket cannot be asked now, and will be again: %s", error)


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


def _bucket_probe(s3: S3Objects) -> Probe:
    asked, said = 0.0, None

    async def probe() -> str | None:
        nonlocal asked, said
        if s3.guard.state == "open":
            return "left alone after several failures in a row"
        if said is not None or time.monotonic() - asked > _REMEMBERED_SECONDS:
            try:
                await s3.check()
                asked, said = time.monotonic(), None
            except StoreUnavailable as error:
                said = str(error)
        return said

    return probe


def _state(s3: S3Objects, objects: FilebaseObjects) -> Mapping[str, str]:
    kind = objects.bucket.known_kind
    return {"bucket": str(kind) if kind else "not known yet", "breaker": s3.guard.state}
