"""Where objects lie, opened: a folder, or a bucket of Filebase's or of any other S3."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ipld.errors import StoreUnavailable
from ipld.unixfs.profiles import UNIXFS_V0_2015, UNIXFS_V1_2025, Profile
from storage.direct_uploads import Signer
from storage.filebase import FilebaseObjects, Import
from storage.local import LocalObjects
from storage.objects import ObjectStore
from storage.reindex import Adoption
from storage.resilient import Patience
from storage.s3 import S3Events, S3Objects, open_s3
from storage.s3_account import S3Account, S3Limits
from storage.s3_errors import StoreRefused
from storage.single_files import SingleFiles

logger = logging.getLogger(__name__)

# How long an answer of the bucket stands for the next ones: it is asked often whether it is there.
_REMEMBERED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Folder:
    """Objects are files below `path`; `profile` decides the CIDs of files where nothing else does."""

    path: Path
    profile: Profile = UNIXFS_V1_2025


@dataclass(frozen=True, slots=True)
class S3Bucket:
    """`cid_timeout`, in seconds, is the longest wait for the CID that Filebase gives.

    The profile of files is the one that Filebase uses itself, where it is to publish them as they are.
    """

    account: S3Account
    mode: Import = Import.PLAIN
    profile: Profile = UNIXFS_V0_2015
    cid_timeout: float = 30.0
    limits: S3Limits = field(default_factory=S3Limits)
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class BucketEvents:
    """`cid` is told how each object was published: same, different, missing."""

    s3: S3Events = field(default_factory=S3Events)
    cid: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class OpenPlace:
    """`name` is the same at every start. `problem` says why objects cannot be reached now, None where they
    can; `state` what else an operator is told. `adoption` says how `reindex` takes in what others put
    there; `signer` lets others reach objects."""

    name: str
    objects: ObjectStore
    files: SingleFiles
    problem: Callable[[], Awaitable[str | None]]
    state: Callable[[], Mapping[str, str]]
    adoption: Adoption | None = None
    signer: Signer | None = None


@asynccontextmanager
async def open_folder(folder: Folder) -> AsyncGenerator[OpenPlace, None]:
    local = LocalObjects(folder.path)

    async def problem() -> str | None:
        is_there = await asyncio.to_thread(folder.path.is_dir)
        return None if is_there else f"the folder {folder.path} is not there"

    try:
        yield OpenPlace("folder", local, SingleFiles(), problem, dict)
    finally:
        await local.aclose()


@asynccontextmanager
async def open_bucket(
    bucket: S3Bucket, events: BucketEvents | None = None
) -> AsyncGenerator[OpenPlace, None]:
    """Raises StoreRefused where the bucket cannot be what `mode` says; one that is away may come back."""
    events = events or BucketEvents()
    account = bucket.account
    async with open_s3(account, bucket.limits, bucket.patience, events.s3) as s3:
        objects = FilebaseObjects(s3, bucket.mode, cid_timeout=bucket.cid_timeout, on_cid=events.cid)
        try:
            await objects.check_mode()
        except StoreRefused:
            raise
        except StoreUnavailable as error:
            logger.warning("the bucket cannot be asked now, and will be again: %s", error)
        yield OpenPlace(
            f"{account.endpoint_url.rstrip('/')}/{account.bucket}",
            objects,
            SingleFiles(as_cars=bucket.mode is not Import.PLAIN),
            _asking(s3),
            partial(_state, s3, objects),
            Adoption(objects, bucket.profile),
            s3.signer,
        )


def _asking(s3: S3Objects) -> Callable[[], Awaitable[str | None]]:
    asked, said = 0.0, None

    async def problem() -> str | None:
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

    return problem


def _state(s3: S3Objects, objects: FilebaseObjects) -> Mapping[str, str]:
    return {"bucket": objects.bucket.state, "breaker": s3.guard.state}
